//! A headless browser, spoken to as its own developer tools speak (Chrome DevTools Protocol): JSON documents that end in a zero byte, over
//! two pipes.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use base64::Engine as _;
use serde_json::{Value, json};
use tempfile::TempDir;

/// How long an answer may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A browser with one page.
pub struct Browser {
    child: Child,
    send: ChildStdin,
    receive: Receiver<Value>,
    session: String,
    next: u64,
    /// What the page said that it should not: errors, exceptions, dialogs, requests.
    pub complaints: Vec<String>,
    loaded: u64,
    _profile: TempDir,
}

impl Browser {
    pub fn start() -> Self {
        let profile = tempfile::tempdir().unwrap();
        // The browser reads commands from descriptor 3 and writes answers to 4.
        let mut child = Command::new("sh")
            .args(["-c", "exec chromium \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>/dev/null", "sh"])
            .args([
                "--headless",
                "--no-sandbox",
                "--remote-debugging-pipe",
                "--no-first-run",
                "--disable-gpu",
            ])
            .args(["--disable-dev-shm-usage", "--hide-scrollbars", "--force-color-profile=srgb"])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .env("HOME", profile.path())
            .env("TMPDIR", profile.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (send, out) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut browser = Self {
            child,
            send,
            receive: listen(out),
            session: String::new(),
            next: 0,
            complaints: Vec::new(),
            loaded: 0,
            _profile: profile,
        };
        let target = browser.ask("Target.createTarget", json!({ "url": "about:blank" }))["targetId"].clone();
        let attached = browser.ask("Target.attachToTarget", json!({ "targetId": target, "flatten": true }));
        browser.session = attached["sessionId"].as_str().unwrap().to_owned();
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.ask(&format!("{domain}.enable"), json!({}));
        }
        browser.prefer("light");
        browser
    }

    /// Asks for something and waits for the answer.
    pub fn ask(&mut self, method: &str, parameters: Value) -> Value {
        self.next += 1;
        let mut message = json!({ "id": self.next, "method": method, "params": parameters });
        if !self.session.is_empty() {
            message["sessionId"] = json!(self.session);
        }
        self.send.write_all(message.to_string().as_bytes()).unwrap();
        self.send.write_all(&[0]).unwrap();
        let until = Instant::now() + PATIENCE;
        loop {
            let answer = self.hear(until).unwrap_or_else(|| panic!("chromium does not answer {method}"));
            if answer["id"] == self.next {
                assert!(answer["error"].is_null(), "{method}: {}", answer["error"]);
                return answer["result"].clone();
            }
        }
    }

    /// The next message; what it complains about is noted.
    fn hear(&mut self, until: Instant) -> Option<Value> {
        let message = match self.receive.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(message) => message,
            Err(RecvTimeoutError::Timeout) => return None,
            Err(RecvTimeoutError::Disconnected) => {
                panic!("chromium has ended; `.ci/setup.sh test` installs it: {:?}", self.child.try_wait())
            }
        };
        let what = &message["params"];
        match message["method"].as_str().unwrap_or_default() {
            "Page.loadEventFired" => self.loaded += 1,
            "Runtime.exceptionThrown" => self.complaints.push(format!("exception: {what}")),
            "Runtime.consoleAPICalled" => self.complaints.push(format!("console: {what}")),
            "Log.entryAdded" => self.complaints.push(format!("log: {}", what["entry"]["text"])),
            "Page.javascriptDialogOpening" => self.complaints.push(format!("dialog: {what}")),
            "Network.requestWillBeSent" if what["type"] != "Document" => {
                self.complaints.push(format!("request: {}", what["request"]["url"]));
            }
            _ => {}
        }
        Some(message)
    }

    /// Opens a file, and waits until it is there.
    pub fn open(&mut self, file: &Path) {
        let before = self.loaded;
        self.ask("Page.navigate", json!({ "url": format!("file://{}", file.display()) }));
        let until = Instant::now() + PATIENCE;
        while self.loaded == before {
            self.hear(until).unwrap_or_else(|| panic!("{} is never loaded", file.display()));
        }
    }

    /// What an expression gives in the page.
    pub fn evaluate(&mut self, expression: &str) -> Value {
        let parameters = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let result = self.ask("Runtime.evaluate", parameters);
        assert!(result["exceptionDetails"].is_null(), "{expression}: {}", result["exceptionDetails"]);
        result["result"]["value"].clone()
    }

    /// Waits until an expression is true.
    pub fn wait_for(&mut self, expression: &str) {
        let until = Instant::now() + PATIENCE;
        while self.evaluate(expression) != true {
            assert!(Instant::now() < until, "it never becomes true: {expression}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Types a text as a person does, into what has the focus.
    pub fn type_text(&mut self, text: &str) {
        self.ask("Input.insertText", json!({ "text": text }));
    }

    /// Presses a key.
    pub fn press(&mut self, key: &str, code: u32) {
        for kind in ["keyDown", "keyUp"] {
            let mut event = json!({ "type": kind, "key": key, "windowsVirtualKeyCode": code });
            if key == "Enter" && kind == "keyDown" {
                event["text"] = json!("\r");
            }
            self.ask("Input.dispatchKeyEvent", event);
        }
    }

    /// Clicks on the middle of an element.
    pub fn click(&mut self, selector: &str) {
        let place = self.evaluate(&format!(
            "(() => {{ const e = document.querySelector('{selector}'); e.scrollIntoView({{ block: 'center', behavior: 'instant' }}); \
             const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; }})()"
        ));
        for kind in ["mousePressed", "mouseReleased"] {
            let event =
                json!({ "type": kind, "x": place[0], "y": place[1], "button": "left", "clickCount": 1 });
            self.ask("Input.dispatchMouseEvent", event);
        }
    }

    /// Makes the window so wide, in CSS pixels.
    pub fn resize(&mut self, width: u32) {
        let size = json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false });
        self.ask("Emulation.setDeviceMetricsOverride", size);
    }

    /// Asks for light or dark, and that nothing moves: a click hits what is at its place.
    pub fn prefer(&mut self, scheme: &str) {
        let features = [("prefers-color-scheme", scheme), ("prefers-reduced-motion", "reduce")];
        let features = features.map(|(name, value)| json!({ "name": name, "value": value }));
        self.ask("Emulation.setEmulatedMedia", json!({ "features": features }));
    }

    /// A picture of the page as PNG, at most so high.
    pub fn picture(&mut self, width: u32, most: u64) -> Vec<u8> {
        let high = self.evaluate("document.documentElement.scrollHeight").as_u64().unwrap().min(most);
        let clip = json!({ "x": 0, "y": 0, "width": width, "height": high, "scale": 1 });
        let parameters = json!({ "format": "png", "captureBeyondViewport": true, "clip": clip });
        let picture = self.ask("Page.captureScreenshot", parameters);
        base64::engine::general_purpose::STANDARD.decode(picture["data"].as_str().unwrap()).unwrap()
    }
}

/// Reads messages beside whoever waits for them.
fn listen(out: ChildStdout) -> Receiver<Value> {
    let (send, receive) = channel();
    std::thread::spawn(move || {
        let mut out = BufReader::new(out);
        let mut message = Vec::new();
        while out.read_until(0, &mut message).is_ok_and(|bytes| bytes > 0) {
            message.pop();
            if let Ok(value) = serde_json::from_slice(&message) {
                let _ = send.send(value);
            }
            message.clear();
        }
    });
    receive
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
