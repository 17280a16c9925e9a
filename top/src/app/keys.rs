//! The effects of keys.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::{App, Input, LOAD_LISTS, LOAD_SORTS, WINDOWS};
use crate::{
    sort::{SORTS, Sort},
    view::View,
};

/// Limit of an input line.
const INPUT_MAX: usize = 200;

impl App {
    /// Handles a key. Returns whether other data are needed now.
    pub(crate) fn key(&mut self, key: KeyEvent) -> bool {
        if key.kind == KeyEventKind::Release {
            return false;
        }
        self.key_error.clear();
        if key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c') {
            self.quit = true;
            return false;
        }
        if self.input.is_some() {
            return self.input_key(key.code);
        }
        if self.help {
            self.help = false;
            return false;
        }
        match key.code {
            KeyCode::Char('q') => self.quit = true,
            KeyCode::Char('?' | 'h') => self.help = true,
            KeyCode::Char('p') => self.paused = !self.paused,
            KeyCode::Char('b') => self.raw = !self.raw,
            KeyCode::Char(digit @ '1'..='9') => {
                let index = digit as usize - '1' as usize;
                if let Some(view) = View::ALL.get(index) {
                    return self.go(*view);
                }
            }
            KeyCode::Tab => return self.go(self.view.neighbour(1)),
            KeyCode::BackTab => return self.go(self.view.neighbour(View::ALL.len() - 1)),
            KeyCode::Up | KeyCode::Char('k') => self.move_cursor(-1),
            KeyCode::Down | KeyCode::Char('j') => self.move_cursor(1),
            KeyCode::PageUp => self.move_cursor(-10),
            KeyCode::PageDown => self.move_cursor(10),
            KeyCode::Home | KeyCode::Char('g') => self.move_cursor(isize::MIN),
            KeyCode::End | KeyCode::Char('G') => self.move_cursor(isize::MAX),
            KeyCode::Esc => return self.back(),
            KeyCode::Char('/') if matches!(self.view, View::Connections | View::Events) => {
                self.input = Some((Input::Filter, self.filter.clone()));
            }
            code => match self.view {
                View::Connections => return self.connections_key(code),
                View::Load => return self.load_key(code),
                _ => {}
            },
        }
        false
    }

    fn go(&mut self, view: View) -> bool {
        self.view = view;
        self.detail = None;
        true
    }

    fn back(&mut self) -> bool {
        if self.detail.take().is_some() {
            return false;
        }
        let filtered = !self.filter.is_empty();
        self.filter.clear();
        filtered
    }

    fn connections_key(&mut self, code: KeyCode) -> bool {
        match code {
            KeyCode::Char('o') => self.input = Some((Input::Sort, String::new())),
            KeyCode::Char('n') => self.input = Some((Input::Limit, String::new())),
            KeyCode::Char('>') | KeyCode::Right => return self.next_sort(1),
            KeyCode::Char('<') | KeyCode::Left => return self.next_sort(SORTS.len() - 1),
            KeyCode::Char('r') => {
                self.reversed = !self.reversed;
                self.sort.apply(&mut self.rows, self.reversed);
            }
            KeyCode::Char(' ') => self.totals = !self.totals,
            KeyCode::Char('d') => self.lookup = !self.lookup,
            KeyCode::Char('s') => {
                self.subjects = !self.subjects;
                return true;
            }
            KeyCode::Char('c') => {
                self.state = match self.state {
                    "open" => "closed",
                    "closed" => "any",
                    _ => "open",
                };
                if self.state == "closed" || self.sort.closed_only {
                    self.sort = Sort::default_of(self.state == "closed");
                }
                self.rows.clear();
                return true;
            }
            KeyCode::Enter => {
                let row = self.rows.get(self.cursor(self.rows.len()));
                self.detail = row.map(|row| row.info.cid);
                return true;
            }
            _ => {}
        }
        false
    }

    fn load_key(&mut self, code: KeyCode) -> bool {
        let next = |index: usize, by: usize, length: usize| (index + by) % length;
        match code {
            KeyCode::Right => self.load_list = next(self.load_list, 1, LOAD_LISTS.len()),
            KeyCode::Left => {
                self.load_list = next(self.load_list, LOAD_LISTS.len() - 1, LOAD_LISTS.len());
            }
            KeyCode::Char('w') => self.load_window = next(self.load_window, 1, WINDOWS.len()),
            KeyCode::Char('o' | '>') => {
                self.load_sort = next(self.load_sort, 1, LOAD_SORTS.len());
            }
            KeyCode::Char('<') => {
                self.load_sort = next(self.load_sort, LOAD_SORTS.len() - 1, LOAD_SORTS.len());
            }
            _ => return false,
        }
        true
    }

    fn next_sort(&mut self, by: usize) -> bool {
        let mut index = SORTS
            .iter()
            .position(|sort| std::ptr::eq(sort, self.sort))
            .unwrap_or(0);
        loop {
            index = (index + by) % SORTS.len();
            if self.state == "closed" || !SORTS[index].closed_only {
                self.sort = &SORTS[index];
                self.sort.apply(&mut self.rows, self.reversed);
                return true;
            }
        }
    }

    fn input_key(&mut self, code: KeyCode) -> bool {
        let Some((kind, text)) = &mut self.input else {
            return false;
        };
        match code {
            KeyCode::Esc => self.input = None,
            KeyCode::Backspace => {
                text.pop();
            }
            KeyCode::Char(character) if text.len() < INPUT_MAX && !character.is_control() => {
                text.push(character);
            }
            KeyCode::Enter => {
                let (kind, text) = (*kind, text.trim().to_owned());
                self.input = None;
                return self.apply_input(kind, text);
            }
            _ => {}
        }
        false
    }

    fn apply_input(&mut self, kind: Input, text: String) -> bool {
        match kind {
            Input::Filter => self.filter = text,
            Input::Limit => match text.parse() {
                Ok(limit @ 1..=16384) => self.limit = limit,
                _ => self.key_error = format!("{text}: a number from 1 to 16384"),
            },
            Input::Sort => match Sort::find(&text) {
                Some(sort) if sort.closed_only && self.state != "closed" => {
                    self.key_error = format!("{text}: for closed connections only (c)");
                }
                Some(sort) => self.sort = sort,
                None => self.key_error = format!("unknown order {text:?}"),
            },
        }
        self.key_error.is_empty()
    }
}
