//! A headless Chromium, controlled over the pipe of its DevTools protocol: JSON messages,
//! each ended by a zero byte. It can reach only 127.0.0.1 and gets other pages from the test
//! ([`Browser::serve`]). The tests of the dashboard and of WebSockets use it.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use data_encoding::BASE64;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{PATIENCE, tools, wait_until};

/// A running browser with one empty tab.
pub struct Browser {
    child: Child,
    commands: ChildStdin,
    messages: Receiver<Value>,
    events: Vec<Value>,
    last_id: u64,
    session: Option<String>,
    served: Vec<Served>,
    _profile: TempDir,
}

/// What the test answers for a URL.
struct Served {
    url: String,
    kind: String,
    body: String,
}

impl Browser {
    /// Starts the browser and subscribes to the reports of its tab.
    pub fn start() -> Self {
        Self::start_with("", &[])
    }

    /// The same; `host` is another one that it may reach, with the address to use instead (`MAP
    /// HOST ADDRESS`), and `arguments` are further ones.
    pub fn start_with(host: &str, arguments: &[String]) -> Self {
        let chromium = tools::on_path("chromium").unwrap_or_else(|| {
            panic!("this test needs Chromium (`apt-get install chromium`, or run tests/run)")
        });
        let profile = TempDir::new().expect("a folder for the profile");
        // The browser uses descriptors 3 and 4 for the pipe.
        let mut child = Command::new("sh")
            .args(["-c", "exec \"$@\" 3<&0 4>&1 0</dev/null 1>/dev/null", "sh"])
            .arg(chromium)
            .args(["--headless", "--no-sandbox", "--disable-gpu"])
            .args(["--disable-dev-shm-usage", "--disable-background-networking"])
            .args(["--no-first-run", "--remote-debugging-pipe"])
            .arg(format!(
                "--host-resolver-rules={host}, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
            ))
            // Otherwise a page from elsewhere needs a person's permission to reach this machine.
            .arg("--disable-features=LocalNetworkAccessChecks,LocalNetworkAccessChecksWebSockets")
            .args(arguments)
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("start Chromium");
        let commands = child.stdin.take().expect("its input");
        let output = child.stdout.take().expect("its output");
        let (sender, messages) = channel();
        thread::spawn(move || {
            for message in BufReader::new(output).split(0).map_while(Result::ok) {
                let Ok(message) = serde_json::from_slice(&message) else {
                    return;
                };
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        let mut browser = Self {
            child,
            commands,
            messages,
            events: Vec::new(),
            last_id: 0,
            session: None,
            served: Vec::new(),
            _profile: profile,
        };
        let tab = browser.call("Target.createTarget", json!({"url": "about:blank"}));
        let attach = json!({"targetId": tab["targetId"], "flatten": true});
        let attached = browser.call("Target.attachToTarget", attach);
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Network", "Log"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        browser
    }

    /// Calls a method of the protocol and returns its result.
    pub fn call(&mut self, method: &str, params: Value) -> Value {
        let id = self.send(method, params);
        loop {
            let message = self
                .messages
                .recv_timeout(PATIENCE)
                .unwrap_or_else(|error| panic!("{method} is not answered: {error}"));
            if message["id"] == json!(id) {
                assert!(message["error"].is_null(), "{method}: {message}");
                return message["result"].clone();
            }
            if message["method"] == "Fetch.requestPaused" {
                self.answer(&message["params"]);
            }
            self.events.push(message);
        }
    }

    /// Sends a command and returns its id.
    fn send(&mut self, method: &str, params: Value) -> u64 {
        self.last_id += 1;
        let mut command = json!({"id": self.last_id, "method": method, "params": params});
        if let Some(session) = &self.session {
            command["sessionId"] = json!(session);
        }
        let mut bytes = command.to_string().into_bytes();
        bytes.push(0);
        self.commands.write_all(&bytes).expect("talk to Chromium");
        self.last_id
    }

    /// From now on requests do not leave the browser: this URL gets this answer, those that no call
    /// has named fail. WebSockets are no such requests.
    pub fn serve(&mut self, url: &str, kind: &str, body: &str) {
        if self.served.is_empty() {
            self.call("Fetch.enable", json!({"patterns": [{"urlPattern": "*"}]}));
        }
        self.served.push(Served {
            url: url.into(),
            kind: kind.into(),
            body: body.into(),
        });
    }

    /// Answers a request of the page; nobody waits for the command's own answer.
    fn answer(&mut self, paused: &Value) {
        let id = &paused["requestId"];
        let url = &paused["request"]["url"];
        let Some(served) = self.served.iter().find(|served| *url == served.url) else {
            self.send(
                "Fetch.failRequest",
                json!({"requestId": id, "errorReason": "Failed"}),
            );
            return;
        };
        let headers = json!([
            {"name": "Content-Type", "value": served.kind},
            {"name": "Access-Control-Allow-Origin", "value": "*"},
        ]);
        let body = BASE64.encode(served.body.as_bytes());
        self.send(
            "Fetch.fulfillRequest",
            json!({"requestId": id, "responseCode": 200, "responseHeaders": headers, "body": body}),
        );
    }

    /// The value of a JavaScript expression on the page.
    pub fn evaluate(&mut self, expression: &str) -> Value {
        let params = json!({"expression": expression, "returnByValue": true});
        let result = self.call("Runtime.evaluate", params);
        assert!(result["exceptionDetails"].is_null(), "{result}");
        result["result"]["value"].clone()
    }

    /// Waits until something outside is true, and answers the page's requests meanwhile.
    pub fn wait_beside(&mut self, what: &str, mut condition: impl FnMut() -> bool) {
        wait_until(what, || {
            self.evaluate("0");
            condition()
        });
    }

    /// Waits until a JavaScript expression is true.
    pub fn wait_for(&mut self, expression: &str) {
        let deadline = Instant::now() + PATIENCE;
        while self.evaluate(expression) != json!(true) {
            if Instant::now() > deadline {
                let text = self.evaluate("document.body.innerText");
                panic!("never true: {expression}\non the page: {text}");
            }
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// URLs of an endpoint that the page has requested so far.
    pub fn asked(&self, endpoint: &str) -> Vec<&str> {
        let requests = self.events.iter().filter_map(|event| {
            let is_request = event["method"] == "Network.requestWillBeSent";
            is_request.then(|| event["params"]["request"]["url"].as_str())?
        });
        let path = format!("/{endpoint}?");
        requests.filter(|url| url.contains(&path)).collect()
    }

    /// Failed requests, blocked requests, exceptions and console messages so far.
    pub fn complaints(&self) -> Vec<&Value> {
        self.events
            .iter()
            .filter(|event| match event["method"].as_str() {
                Some(
                    "Log.entryAdded"
                    | "Network.loadingFailed"
                    | "Runtime.consoleAPICalled"
                    | "Runtime.exceptionThrown",
                ) => true,
                Some("Network.responseReceived") => {
                    event["params"]["response"]["status"].as_u64() >= Some(400)
                }
                _ => false,
            })
            .collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
