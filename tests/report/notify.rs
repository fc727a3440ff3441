//! Telling others that a run is over, against a server on loopback.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use packhold::config::NotifyFile;
use packhold::model::RunRecord;
use packhold::notify::{Notifier, Patience};
use serde_json::Value;
use tokio::net::TcpListener;

use crate::fixture::Fixture;

/// A request as it came: method and path, headers, body.
#[derive(Clone, Debug)]
struct Seen {
    line: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Seen {
    fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(known, _)| known == name);
        &found.unwrap_or_else(|| panic!("no {name}: {self:?}")).1
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// A server that answers with these statuses, one after the other, and then with 204; 0 is no answer at all.
struct Server {
    address: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    async fn start(answers: &[u16]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let answers = Arc::new(Mutex::new(answers.iter().copied().collect::<VecDeque<u16>>()));
        let requests = seen.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (seen, answers) = (requests.clone(), answers.clone());
                let answer = service_fn(move |request| answer(request, seen.clone(), answers.clone()));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
            }
        });
        Self { address, seen }
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

async fn answer(
    request: Request<Incoming>,
    seen: Arc<Mutex<Vec<Seen>>>,
    answers: Arc<Mutex<VecDeque<u16>>>,
) -> Result<Response<String>, Infallible> {
    let line = format!("{} {}", request.method(), request.uri().path());
    let header = |(name, value): (&hyper::http::HeaderName, &hyper::http::HeaderValue)| {
        (name.to_string(), value.to_str().unwrap().to_owned())
    };
    let headers = request.headers().iter().map(header).collect();
    let (mut incoming, mut body) = (request.into_body(), Vec::new());
    while let Some(frame) = std::future::poll_fn(|context| Pin::new(&mut incoming).poll_frame(context)).await
    {
        body.extend_from_slice(frame.unwrap().data_ref().unwrap());
    }
    seen.lock().unwrap().push(Seen { line, headers, body });
    let status = answers.lock().unwrap().pop_front().unwrap_or(204);
    if status == 0 {
        std::future::pending::<()>().await;
    }
    let answer = Response::builder().status(status).header("location", "http://127.0.0.1:1/elsewhere");
    Ok(answer.body(String::new()).unwrap())
}

/// A run of which a package has failed.
fn failed() -> RunRecord {
    let mut record = Fixture::new().add(1, false);
    let failed = record.targets.iter().map(|target| &target.outcome).find(|outcome| outcome.exit_code() == 1);
    record.outcome = failed.unwrap().clone();
    record
}

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

/// Writes a file that only its owner may read.
fn private(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// What is in a file of an operator, beside secrets of its own.
fn notifier(folder: &Path, text: &str) -> Notifier {
    private(&folder.join("secret"), &format!("whsec_{}\n", STANDARD.encode(SECRET)));
    private(&folder.join("token"), "glpat-0123\n");
    fs::write(folder.join("notify.toml"), text).unwrap();
    let patience = Patience {
        attempt: Duration::from_secs(5),
        attempts: 3,
        pause: Duration::from_millis(1),
        whole: Duration::from_secs(20),
    };
    Notifier::open(NotifyFile::read(&folder.join("notify.toml")).unwrap(), patience).unwrap()
}

fn webhook(server: &Server, more: &str) -> String {
    format!("[[webhook]]\nurl = \"{}/hook?x\"\nsecret-file = \"secret\"\n{more}\n", server.address)
}

fn now() -> Timestamp {
    Timestamp::from_second(1_700_000_000).unwrap()
}

#[tokio::test]
async fn a_webhook_gets_a_signed_message_of_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let record = failed();
    let server = Server::start(&[]).await;
    let warnings = notifier(folder.path(), &webhook(&server, "")).tell(&record, now()).await;
    assert_eq!(warnings, [""; 0]);
    let [seen] = &server.seen()[..] else { panic!("{:?}", server.seen()) };
    assert_eq!(seen.line, "POST /hook");
    assert_eq!(
        (seen.header("webhook-timestamp"), seen.header("content-type")),
        ("1700000000", "application/json")
    );
    let id = seen.header("webhook-id");
    assert_eq!(id, format!("run.finished.{}", record.id));
    // As a receiver checks it: with another implementation of HMAC.
    let signed = [id.as_bytes(), b".1700000000.", &seen.body].concat();
    private(&folder.path().join("signed"), "");
    fs::write(folder.path().join("signed"), signed).unwrap();
    let key = format!("hexkey:{}", SECRET.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    let openssl = std::process::Command::new("openssl")
        .args(["dgst", "-sha256", "-mac", "HMAC", "-macopt", &key, "-binary"])
        .arg(folder.path().join("signed"))
        .output()
        .unwrap();
    assert_eq!(seen.header("webhook-signature"), format!("v1,{}", STANDARD.encode(openssl.stdout)));
    let told = seen.json();
    assert_eq!((&told["type"], &told["timestamp"]), (&"run.finished".into(), &"2023-11-14T22:13:20Z".into()));
    let data = &told["data"];
    assert_eq!(
        (data["run"].as_str(), data["outcome"]["state"].as_str()),
        (Some(record.id.as_str()), Some("failed"))
    );
    assert_eq!(data["commit"].as_str(), Some(&*record.source.commit));
    assert_eq!(data["targets"].as_array().unwrap().len(), record.targets.len());
}

#[tokio::test]
async fn what_a_server_says_of_itself_is_tried_again_with_the_same_id_and_what_it_refuses_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let record = Fixture::new().add(1, true);
    for (answers, count, warning) in [
        (&[503, 429][..], 3, None),
        (
            &[500, 500, 500],
            3,
            Some("webhook 127.0.0.1: it answers 500 Internal Server Error; it was tried 3 times"),
        ),
        (&[410], 1, Some("webhook 127.0.0.1: it answers 410 Gone")),
        // Where it leads is not what was configured.
        (&[302], 1, Some("webhook 127.0.0.1: it answers 302 Found")),
    ] {
        let server = Server::start(answers).await;
        let warnings = notifier(folder.path(), &webhook(&server, "")).tell(&record, now()).await;
        assert_eq!(warnings.first().map(String::as_str), warning, "{answers:?}");
        let seen = server.seen();
        assert_eq!(seen.len(), count, "{answers:?}");
        assert!(seen.iter().all(|one| one.header("webhook-id") == seen[0].header("webhook-id")));
    }
}

#[tokio::test]
async fn a_server_that_does_not_answer_or_is_not_there_is_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let record = Fixture::new().add(1, true);
    let server = Server::start(&[0; 9]).await;
    private(&folder.path().join("secret"), &format!("whsec_{}", STANDARD.encode(SECRET)));
    fs::write(folder.path().join("notify.toml"), webhook(&server, "")).unwrap();
    let file = NotifyFile::read(&folder.path().join("notify.toml")).unwrap();
    let patience = Patience { whole: Duration::from_millis(50), ..Patience::default() };
    let warnings = Notifier::open(file, patience).unwrap().tell(&record, now()).await;
    assert_eq!(warnings, ["webhook 127.0.0.1: no answer within 50ms"]);
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let text = format!("[[webhook]]\nurl = \"http://{nobody}/s3cret-path\"\nsecret-file = \"secret\"\n");
    let warnings = notifier(folder.path(), &text).tell(&record, now()).await;
    let [warning] = &warnings[..] else { panic!("{warnings:?}") };
    assert!(warning.contains("Connection refused") && warning.ends_with("it was tried 3 times"), "{warning}");
    assert!(!warning.contains("s3cret"), "{warning}");
}

#[tokio::test]
async fn only_outcomes_that_are_asked_for_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let (passed, failed) = (Fixture::new().add(1, true), failed());
    let server = Server::start(&[]).await;
    let notifier = notifier(folder.path(), &webhook(&server, "on = [\"failed\", \"infra\"]"));
    notifier.tell(&passed, now()).await;
    assert_eq!(server.seen().len(), 0);
    notifier.tell(&failed, now()).await;
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn a_command_gets_the_message_on_standard_input_and_its_failure_is_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let record = Fixture::new().add(1, true);
    let out = folder.path().join("out");
    let text = format!(
        "[[command]]\nrun = [\"sh\", \"-c\", \"cat >\\\"$1\\\"\", \"sh\", \"{}\"]\n\
         [[command]]\nrun = [\"sh\", \"-c\", \"echo no such channel >&2; exit 3\"]\n\
         [[command]]\nrun = [\"/nonexistent/tell\"]\n",
        out.display()
    );
    let warnings = notifier(folder.path(), &text).tell(&record, now()).await;
    let told: Value = serde_json::from_slice(&fs::read(&out).unwrap()).unwrap();
    assert_eq!(told["data"]["run"].as_str(), Some(record.id.as_str()));
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(
        warnings[0].contains("exit status: 3") && warnings[0].contains("no such channel"),
        "{warnings:?}"
    );
    assert!(warnings[1].starts_with("command /nonexistent/tell: it cannot be started"), "{warnings:?}");
}

#[tokio::test]
async fn a_forge_is_told_the_status_of_the_commit() {
    let folder = tempfile::tempdir().unwrap();
    let (passed, failed) = (Fixture::new().add(1, true), failed());
    for (forge, record, path, header, state) in [
        (
            "github",
            &passed,
            "POST /repos/example/agent/statuses/",
            ("authorization", "Bearer glpat-0123"),
            "success",
        ),
        (
            "forgejo",
            &failed,
            "POST /repos/example/agent/statuses/",
            ("authorization", "Bearer glpat-0123"),
            "failure",
        ),
        (
            "gitlab",
            &failed,
            "POST /projects/example%2Fagent/statuses/",
            ("private-token", "glpat-0123"),
            "failed",
        ),
    ] {
        let server = Server::start(&[]).await;
        let text = format!(
            "[[commit-status]]\nforge = \"{forge}\"\napi = \"{}/\"\nproject = \"example/agent\"\ntoken-file = \"token\"\n",
            server.address
        );
        let warnings = notifier(folder.path(), &text).tell(record, now()).await;
        assert_eq!(warnings, [""; 0]);
        let [seen] = &server.seen()[..] else { panic!("{:?}", server.seen()) };
        assert_eq!(seen.line, format!("{path}{}", record.source.commit));
        assert_eq!(seen.header(header.0), header.1);
        assert_eq!(seen.json()["state"], state);
        assert!(seen.json()["description"].as_str().unwrap().contains(&record.outcome.summary()));
    }
}

#[test]
fn a_secret_that_others_can_read_or_that_is_none_is_refused_and_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server { address: "https://ci.example.org".to_owned(), seen: Arc::default() };
    let text = webhook(&server, "");
    let opened = notifier(folder.path(), &text);
    let shown = format!("{opened:?}");
    assert!(!shown.contains(&STANDARD.encode(SECRET)) && !shown.contains("48, 49, 50"), "{shown}");
    let open =
        || Notifier::open(NotifyFile::read(&folder.path().join("notify.toml")).unwrap(), Patience::default());
    let secret = folder.path().join("secret");
    for wrong in ["", "whsec_", "whsec_c2hvcnQ=", "0123456789abcdef0123456789abcdef", "whsec_%%%"] {
        private(&secret, wrong);
        let error = open().unwrap_err().to_string();
        assert!(error.ends_with("holds no secret of a webhook"), "{error}");
    }
    private(&secret, &format!("whsec_{}", STANDARD.encode(SECRET)));
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o640)).unwrap();
    let error = open().unwrap_err().to_string();
    assert!(error.contains("can be read by others"), "{error}");
}
