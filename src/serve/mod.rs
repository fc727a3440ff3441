//! A folder over HTTP, for as long as a value lives: so do containers of this machine read what is about to be published, by the
//! same protocol as users will. What lies elsewhere is brought into the folder when it is asked for.

mod source;

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
pub use source::Source;
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
        Self::run(folder, address, None).await
    }

    /// As [`Server::start`]; each file is taken from `source` when it is asked for the first time.
    pub async fn start_with(folder: &Path, address: IpAddr, source: Arc<dyn Source>) -> io::Result<Self> {
        Self::run(folder, address, Some(source)).await
    }

    async fn run(folder: &Path, address: IpAddr, source: Option<Arc<dyn Source>>) -> io::Result<Self> {
        let listener = TcpListener::bind((address, 0)).await?;
        let address = listener.local_addr()?;
        let stop = CancellationToken::new();
        let (folder, stopped) = (folder.to_owned(), stop.clone());
        tokio::spawn(async move { stopped.run_until_cancelled(accept(listener, folder, source)).await });
        Ok(Self { address, _stop: stop.drop_guard() })
    }

    /// The folder's address, with a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }
}

/// Connections end with the future.
async fn accept(listener: TcpListener, folder: PathBuf, source: Option<Arc<dyn Source>>) -> Infallible {
    let files = ServeDir::new(&folder);
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
        let (files, folder, source) = (files.clone(), folder.clone(), source.clone());
        connections.spawn(async move {
            let service = service_fn(|request: hyper::Request<hyper::body::Incoming>| {
                let files = TowerToHyperService::new(files.clone());
                let (folder, source) = (&folder, &source);
                async move {
                    if let Some(source) = source {
                        source::bring(source.as_ref(), folder, request.uri().path()).await;
                    }
                    files.call(request).await
                }
            });
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

    /// Has a file `a+b~1` and nothing else; counts how often it is asked.
    #[derive(Default)]
    struct Elsewhere(std::sync::atomic::AtomicUsize);

    #[async_trait::async_trait]
    impl Source for Elsewhere {
        async fn read(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
            self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            match path {
                "pool/a+b~1" => Ok(Some(b"content".to_vec())),
                "../private" => Ok(Some(b"secret".to_vec())),
                _ => Ok(None),
            }
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_lies_elsewhere_is_fetched_once_and_served() {
        let folder = tempfile::tempdir().unwrap();
        let source = Arc::new(Elsewhere::default());
        let server =
            Server::start_with(folder.path(), Ipv4Addr::LOCALHOST.into(), source.clone()).await.unwrap();
        for path in ["/pool/a+b~1", "/pool/a%2bb%7E1"] {
            let answer = ask(server.address, path);
            assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("content"), "{path}: {answer}");
        }
        assert_eq!(source.0.load(std::sync::atomic::Ordering::Relaxed), 1);
        for path in ["/none", "/pool", "/", "/..%2fprivate", "/../private"] {
            let answer = ask(server.address, path);
            assert!(!answer.starts_with("HTTP/1.1 200") && !answer.contains("secret"), "{path}: {answer}");
        }
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
