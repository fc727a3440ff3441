use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A request that went through.
#[derive(Clone, Debug)]
pub struct Passed {
    pub method: String,
    /// The path as it was sent.
    pub path: String,
    /// The media type that was sent with it.
    pub content_type: String,
    pub status: u16,
}

/// A way to storage on which one request at a time is under way: real storage compares and writes in one step, and the storage of the tests in two.
#[derive(Clone)]
pub struct Gate {
    pub address: String,
    passed: Arc<Mutex<Vec<Passed>>>,
}

impl Gate {
    pub fn before(storage: &str) -> Self {
        Self::with(storage, false)
    }

    /// To storage of earlier days, which does not know the conditions.
    pub fn without_conditions(storage: &str) -> Self {
        Self::with(storage, true)
    }

    fn with(storage: &str, unconditional: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let gate =
            Self { address: listener.local_addr().unwrap().to_string(), passed: Arc::new(Mutex::default()) };
        let (passed, storage) = (gate.passed.clone(), storage.to_owned());
        // It ends with the test's process.
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (passed, storage) = (passed.clone(), storage.clone());
                // A client that goes away is no matter.
                std::thread::spawn(move || _ = pass(client, &storage, &passed, unconditional));
            }
        });
        gate
    }

    /// What went through since it was asked last.
    pub fn passed(&self) -> Vec<Passed> {
        std::mem::take(&mut *self.passed.lock().unwrap())
    }
}

fn pass(
    client: TcpStream,
    storage: &str,
    passed: &Mutex<Vec<Passed>>,
    unconditional: bool,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(client);
    let (mut lines, mut length) = (Vec::new(), 0);
    let mut content_type = String::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let line = line.trim_end().to_owned();
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').unwrap_or((&line, ""));
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().unwrap(),
            "content-type" => content_type = value.trim().to_owned(),
            "if-match" | "if-none-match" if unconditional => continue,
            "connection" => continue,
            _ => {}
        }
        lines.push(line);
    }
    let Some(first) = lines.first().cloned() else { return Ok(()) };
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    lines.push("connection: close\r\n\r\n".to_owned());
    let mut log = passed.lock().unwrap();
    let mut server = TcpStream::connect(storage)?;
    server.write_all(lines.join("\r\n").as_bytes())?;
    server.write_all(&body)?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer)?;
    let status = String::from_utf8_lossy(&answer[..answer.len().min(12)]).into_owned();
    let status = status.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    let words: Vec<String> = first.split(' ').map(str::to_owned).collect();
    log.push(Passed { method: words[0].clone(), path: words[1].clone(), content_type, status });
    drop(log);
    reader.into_inner().write_all(&answer)
}
