//! A table that leaves out its less important columns on a narrow screen, and formats only the
//! visible rows.

use ratatui::{
    Frame,
    layout::{Alignment, Constraint, Rect},
    style::Style,
    text::{Line, Span},
    widgets::{Row, Table},
};

use super::theme::Theme;

/// Space between two columns.
const GAP: u16 = 1;

/// A column of a table of `T`.
pub(crate) struct Column<'a, T> {
    /// Its heading.
    pub(crate) title: &'static str,
    /// Its width; for the one with `stretch` the minimum.
    pub(crate) width: u16,
    /// Its importance: 0 is left out last.
    pub(crate) level: u8,
    /// Whether it contains numbers.
    pub(crate) number: bool,
    /// Whether it takes the remaining width.
    pub(crate) stretch: bool,
    /// The text of a row.
    pub(crate) text: Box<dyn Fn(&T) -> String + 'a>,
}

/// A column of numbers, aligned to the right.
pub(crate) fn number<'a, T>(
    title: &'static str,
    width: u16,
    level: u8,
    text: impl Fn(&T) -> String + 'a,
) -> Column<'a, T> {
    Column {
        title,
        width,
        level,
        number: true,
        stretch: false,
        text: Box::new(text),
    }
}

/// A column of text, aligned to the left.
pub(crate) fn words<'a, T>(
    title: &'static str,
    width: u16,
    level: u8,
    text: impl Fn(&T) -> String + 'a,
) -> Column<'a, T> {
    Column {
        number: false,
        ..number(title, width, level, text)
    }
}

/// The column of text that takes the remaining width.
pub(crate) fn stretched<'a, T>(
    title: &'static str,
    width: u16,
    text: impl Fn(&T) -> String + 'a,
) -> Column<'a, T> {
    Column {
        stretch: true,
        ..words(title, width, 0, text)
    }
}

/// The columns that fit into `width`; less important ones are left out.
pub(crate) fn fitting<'b, 'a, T>(
    columns: &'b [Column<'a, T>],
    width: u16,
) -> Vec<&'b Column<'a, T>> {
    let highest = columns.iter().map(|column| column.level).max().unwrap_or(0);
    for level in (0..=highest).rev() {
        let kept: Vec<_> = columns
            .iter()
            .filter(|column| column.level <= level)
            .collect();
        let needed: u16 = kept.iter().map(|column| column.width + GAP).sum();
        if needed <= width + GAP {
            return kept;
        }
    }
    columns.iter().filter(|column| column.level == 0).collect()
}

/// Draws the heading and the rows around `cursor`; `style` gives the style of a row by its entry.
pub(crate) fn draw<T>(
    frame: &mut Frame<'_>,
    area: Rect,
    theme: Theme,
    columns: &[Column<'_, T>],
    entries: &[T],
    cursor: Option<usize>,
    style: impl Fn(&T) -> Style,
) {
    if area.height == 0 || area.width == 0 {
        return;
    }
    let shown = fitting(columns, area.width);
    let fixed: u16 = shown
        .iter()
        .filter(|column| !column.stretch)
        .map(|column| column.width)
        .sum();
    let gaps = GAP * (shown.len().saturating_sub(1) as u16);
    let width_of = |column: &Column<'_, T>| match column.stretch {
        true => area.width.saturating_sub(fixed + gaps).max(1),
        false => column.width,
    };
    let cell = |column: &Column<'_, T>, text: &str| {
        let line = Line::raw(fit(text, width_of(column)));
        line.alignment(if column.number {
            Alignment::Right
        } else {
            Alignment::Left
        })
    };
    let height = usize::from(area.height.saturating_sub(1));
    let first = first_seen(entries.len(), height, cursor.unwrap_or(0));
    let rows = entries
        .iter()
        .enumerate()
        .skip(first)
        .take(height)
        .map(|(index, entry)| {
            let cells = shown
                .iter()
                .map(|column| cell(column, &(column.text)(entry)));
            let row = Row::new(cells.collect::<Vec<_>>());
            match cursor == Some(index) {
                true => row.style(theme.chosen()),
                false => row.style(style(entry)),
            }
        });
    let header = Row::new(
        shown
            .iter()
            .map(|column| cell(column, column.title))
            .collect::<Vec<_>>(),
    );
    let widths = shown
        .iter()
        .map(|column| Constraint::Length(width_of(column)));
    let table = Table::new(rows, widths)
        .header(header.style(theme.dim()))
        .column_spacing(GAP);
    frame.render_widget(table, area);
}

/// The first visible row of a list of `length` if `height` rows are visible, so that the one at
/// `cursor` is visible, in the middle if possible.
pub(crate) fn first_seen(length: usize, height: usize, cursor: usize) -> usize {
    cursor
        .saturating_sub(height / 2)
        .min(length.saturating_sub(height))
}

/// The text, shortened with a mark if it exceeds the width.
pub(crate) fn fit(text: &str, width: u16) -> String {
    let width = usize::from(width);
    if Span::raw(text).width() <= width {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut used = 1;
    for character in text.chars() {
        let mut buffer = [0; 4];
        used += Span::raw(&*character.encode_utf8(&mut buffer)).width();
        if used > width {
            break;
        }
        kept.push(character);
    }
    kept.push('…');
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn less_important_columns_are_left_out_first() {
        let columns = [
            stretched("who", 10, |_: &()| String::new()),
            number("a", 6, 1, |_: &()| String::new()),
            number("b", 6, 2, |_: &()| String::new()),
        ];
        let titles = |width| {
            let kept = fitting(&columns, width);
            kept.iter().map(|column| column.title).collect::<Vec<_>>()
        };
        assert_eq!(titles(24), ["who", "a", "b"]);
        assert_eq!(titles(23), ["who", "a"]);
        assert_eq!(titles(3), ["who"]);
    }

    #[test]
    fn texts_are_shortened_by_their_display_width() {
        assert_eq!(fit("abcdef", 6), "abcdef");
        assert_eq!(fit("abcdefg", 6), "abcde…");
        assert_eq!(fit("名名名名", 6), "名名…");
    }

    #[test]
    fn the_cursor_is_always_visible() {
        for (length, height, cursor, first) in [
            (5, 10, 4, 0),
            (100, 10, 0, 0),
            (100, 10, 50, 45),
            (100, 10, 99, 90),
            (0, 0, 0, 0),
        ] {
            assert_eq!(first_seen(length, height, cursor), first);
        }
    }
}
