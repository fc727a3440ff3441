//! Servers of others that a test needs, and which end with it.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A server that is ended with the test.
pub struct Server {
    process: Child,
    /// Its host and port.
    pub address: String,
}

impl Server {
    pub fn start(command: impl FnOnce(&str) -> Command) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = format!("127.0.0.1:{port}");
        let process =
            command(&address).stdout(Stdio::null()).spawn().expect("`.ci/setup.sh test` installs it");
        let server = Self { process, address };
        let start = Instant::now();
        while TcpStream::connect(&server.address).is_err() {
            assert!(start.elapsed() < Duration::from_secs(30), "it does not start");
            std::thread::sleep(Duration::from_millis(50));
        }
        server
    }
}

/// S3-compatible storage whose buckets are the folders of `folder`, for the user `id` with the password `word`.
pub fn s3(folder: &Path) -> Server {
    s3_with(folder, &["--access-key", "id", "--secret-key", "word"])
}

/// The same with other options of the server; without keys it lets everybody in.
pub fn s3_with(folder: &Path, options: &[&str]) -> Server {
    Server::start(|address| {
        let (host, port) = address.split_once(':').unwrap();
        let mut command = Command::new("s3s-fs");
        command.args(options).args(["--host", host, "--port", port]).arg(folder);
        command.stderr(Stdio::null());
        command
    })
}

/// The variables with which clients of storage at `address` use it.
pub fn s3_variables(address: &str) -> Vec<(&'static str, String)> {
    vec![
        ("AWS_ENDPOINT_URL", format!("http://{address}")),
        ("AWS_REGION", "eu-central-1".to_owned()),
        ("AWS_ACCESS_KEY_ID", "id".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "word".to_owned()),
    ]
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
