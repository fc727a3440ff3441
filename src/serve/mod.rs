//! A folder over HTTP, for as long as a value lives: so do containers of this machine read what is about to be published, by the
//! same protocol as users will.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};
use tower_http::services::ServeDir;

/// How long a client may take to ask for something.
const PATIENCE: Duration = Duration::from_secs(30);

/// The most clients at a time; more of them wait.
const MOST: usize = 64;

/// A folder that is being served, read-only. Links in it are followed: it must be this program's own. Dropped, it serves no more.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    _stop: DropGuard,
}

impl Server {
    /// Serves `folder` on a free port of `address`, one of this machine's. Fails where this machine has no such address.
    pub async fn start(folder: &Path, address: IpAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((address, 0)).await?;
        let address = listener.local_addr()?;
        let stop = CancellationToken::new();
        let (files, stopped) = (ServeDir::new(folder), stop.clone());
        tokio::spawn(async move { stopped.run_until_cancelled(accept(listener, files)).await });
        Ok(Self { address, _stop: stop.drop_guard() })
    }

    /// The folder's address, with a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }
}

/// Connections end with the future.
async fn accept(listener: TcpListener, files: ServeDir) -> Infallible {
    let mut connections = JoinSet::new();
    loop {
        if connections.len() >= MOST {
            connections.join_next().await;
        }
        while connections.try_join_next().is_some() {}
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors, say.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let service = TowerToHyperService::new(files.clone());
        connections.spawn(async move {
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(PATIENCE);
            // A client that goes away is no matter.
            let _ = http.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, TcpStream};

    use super::*;

    fn ask(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_folder_is_served_and_nothing_beside_it() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("public");
        std::fs::create_dir_all(folder.join("dists")).unwrap();
        std::fs::write(folder.join("dists/InRelease"), "Origin: test\n").unwrap();
        std::fs::write(place.path().join("private"), "secret").unwrap();
        let server = Server::start(&folder, Ipv4Addr::LOCALHOST.into()).await.unwrap();
        assert_eq!(server.url(), format!("http://{}/", server.address));
        let answer = ask(server.address, "/dists/InRelease");
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("Origin: test\n"), "{answer}");
        for path in ["/none", "/../private", "/%2e%2e/private", "/dists/..%2f..%2fprivate", "//etc/passwd"] {
            let answer = ask(server.address, path);
            assert!(answer.starts_with("HTTP/1.1 404"), "{path}: {answer}");
        }
        let address = server.address;
        drop(server);
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(TcpStream::connect(address).is_err());
    }
}
