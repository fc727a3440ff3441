use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::owner::OWNER_LABEL;
use super::*;
use crate::engine::fake::{Fake, Method, Script};
use crate::engine::{EngineError, ExecStatus};

fn engine() -> (Fake, Arc<dyn Engine>, SandboxSpec) {
    let fake = Fake::new();
    let image = fake.image("test:latest", &[]);
    let spec = SandboxSpec {
        root: image.into(),
        name: "test".into(),
        privileges: Privileges::Build,
        limits: Limits { memory: 1 << 30, processes: 100, cpus: None },
        run: "run".into(),
        hostname: None,
    };
    (fake.clone(), Arc::new(fake), spec)
}

fn command(word: &str) -> Command {
    Command { argv: vec![word.into()], env: BTreeMap::new(), user: "0:0".into(), dir: "/".into() }
}

fn watch() -> Watch {
    Watch { time: Duration::from_secs(600), silence: Duration::from_secs(60), output: 1000 }
}

async fn run(
    fake: &Fake,
    engine: &Arc<dyn Engine>,
    spec: SandboxSpec,
    script: Script,
) -> (StepResult, Vec<u8>) {
    fake.on_exec(|command| command.argv[0] == "work", script);
    let mut printed = Vec::new();
    let cancel = CancellationToken::new();
    let result = scope(engine, spec, &cancel, |sandbox| async {
        let sandbox = sandbox;
        let mut keep = |chunk: &[u8]| {
            printed.extend_from_slice(chunk);
            Ok(())
        };
        sandbox.run(&command("work"), &watch(), &mut keep).await
    });
    let result = result.await.unwrap().unwrap();
    assert_eq!(fake.live(), 0, "the container is left");
    (result, printed)
}

#[tokio::test]
async fn a_container_is_gone_after_success_and_after_failure() {
    for code in [0, 3] {
        let (fake, engine, spec) = engine();
        let (result, printed) = run(&fake, &engine, spec, Script::exits(code).printing("hello")).await;
        assert_eq!((result.end.code(), printed.as_slice()), (Some(code), &b"hello"[..]));
    }
}

#[tokio::test]
async fn a_container_has_the_privileges_of_its_profile_and_no_others() {
    let (fake, engine, spec) = engine();
    fake.allow_init();
    for (privileges, network, capabilities, init) in [
        (Privileges::Build, Network::None, 0, false),
        (Privileges::Install, Network::Outside, INSTALLER.len(), false),
        (Privileges::Offline, Network::None, INSTALLER.len(), false),
        (Privileges::Init, Network::None, INSTALLER.len() + 2, true),
    ] {
        let spec = SandboxSpec { privileges, ..spec.clone() };
        scope(&engine, spec, &CancellationToken::new(), |_| async {}).await.unwrap();
        let made = fake.created().pop().unwrap();
        assert_eq!((made.network, made.capabilities.len(), made.init), (network, capabilities, init));
        let admin = made.capabilities.iter().any(|name| name == "SYS_ADMIN");
        assert_eq!(admin, init, "{privileges:?}");
    }
}

#[tokio::test]
async fn an_engine_that_runs_no_init_system_refuses_to() {
    let (fake, engine, spec) = engine();
    let spec = SandboxSpec { privileges: Privileges::Init, ..spec };
    let result = scope(&engine, spec, &CancellationToken::new(), |_| async {}).await;
    assert!(matches!(result, Err(SandboxError::Engine(EngineError::Refused { .. }))), "{result:?}");
    assert_eq!(fake.live(), 0);
}

#[tokio::test]
async fn a_container_is_gone_after_a_panic() {
    let (fake, engine, spec) = engine();
    let task = tokio::spawn(async move {
        let cancel = CancellationToken::new();
        scope(&engine, spec, &cancel, |_| async { panic!("a defect") }).await
    });
    assert!(task.await.unwrap_err().is_panic());
    assert_eq!(fake.live(), 0);
}

#[tokio::test]
async fn a_container_is_gone_after_a_cancellation() {
    let (fake, engine, spec) = engine();
    let cancel = CancellationToken::new();
    let stop = cancel.clone();
    let result = scope(&engine, spec, &cancel, |_| async move {
        stop.cancel();
        std::future::pending::<()>().await;
    });
    assert!(matches!(result.await, Err(SandboxError::Interrupted)));
    assert_eq!(fake.live(), 0);
}

#[tokio::test]
async fn a_container_is_gone_when_its_owner_is_dropped() {
    let (fake, engine, spec) = engine();
    let cancel = CancellationToken::new();
    let body = scope(&engine, spec, &cancel, |_| std::future::pending::<()>());
    assert!(tokio::time::timeout(Duration::from_millis(50), body).await.is_err());
    for _ in 0..100 {
        if fake.live() == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the container is left");
}

#[tokio::test]
async fn a_removal_that_fails_is_tried_again() {
    let (fake, engine, spec) = engine();
    fake.fail(Method::Remove, 1, || EngineError::Refused { action: "remove".into(), message: "busy".into() });
    run(&fake, &engine, spec, Script::exits(0)).await;
    assert_eq!(fake.calls(Method::Remove), 2);
}

#[tokio::test(start_paused = true)]
async fn a_command_that_takes_too_long_is_a_time_out() {
    let (fake, engine, spec) = engine();
    let mut script = Script::hangs();
    // Not silence: it goes on printing.
    for _ in 0..3 {
        script = script.printing(".");
    }
    let watch = Watch { time: Duration::from_secs(5), ..watch() };
    fake.on_exec(|command| command.argv[0] == "work", script);
    let cancel = CancellationToken::new();
    let result = scope(&engine, spec, &cancel, |sandbox| async move {
        sandbox.run(&command("work"), &watch, &mut |_| Ok(())).await
    });
    assert_eq!(result.await.unwrap().unwrap().end, StepEnd::TimeOut);
    assert_eq!(fake.live(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_command_that_prints_nothing_is_silent() {
    let (fake, engine, spec) = engine();
    let (result, printed) = run(&fake, &engine, spec, Script::hangs().printing("last words")).await;
    assert_eq!((result.end, printed.as_slice()), (StepEnd::Silent, &b"last words"[..]));
}

#[tokio::test]
async fn no_more_is_kept_than_the_output_limit_allows() {
    let (fake, engine, spec) = engine();
    let script = Script::hangs().printing(vec![b'x'; 600]).printing(vec![b'y'; 600]);
    let (result, printed) = run(&fake, &engine, spec, script).await;
    assert_eq!((result.end, printed.len(), result.bytes), (StepEnd::OutputLimit, 1000, 1000));
}

#[tokio::test]
async fn the_limits_of_the_kernel_are_told() {
    let (fake, engine, spec) = engine();
    let script = Script::ends(ExecStatus::ContainerGone { oom: true });
    assert_eq!(run(&fake, &engine, spec, script).await.0.end, StepEnd::ContainerGone { oom: true });
}

#[tokio::test]
async fn a_log_that_cannot_be_written_ends_the_step() {
    let (fake, engine, spec) = engine();
    fake.on_exec(|command| command.argv[0] == "work", Script::hangs().printing("x"));
    let cancel = CancellationToken::new();
    let result = scope(&engine, spec, &cancel, |sandbox| async move {
        let mut full = |_: &[u8]| Err(std::io::ErrorKind::StorageFull.into());
        sandbox.run(&command("work"), &watch(), &mut full).await
    });
    assert!(matches!(result.await.unwrap(), Err(SandboxError::Log(_))));
    assert_eq!(fake.live(), 0);
}

#[tokio::test]
async fn only_containers_of_dead_owners_are_reaped() {
    let (fake, engine, spec) = engine();
    let owner = Owner::this_process().to_string();
    let dead = owner.rsplit_once(' ').unwrap().0.to_owned() + " 1";
    let mut ids = Vec::new();
    for owner in [owner, dead, "another-host boot 1 1".to_owned(), "nonsense".to_owned()] {
        let spec = ContainerSpec {
            root: spec.root.clone(),
            name_hint: "test".into(),
            labels: BTreeMap::from([(OWNER_LABEL.to_owned(), owner)]),
            network: Network::None,
            capabilities: Vec::new(),
            limits: spec.limits,
            hostname: "test".into(),
            init: false,
        };
        ids.push(engine.create(&spec).await.unwrap());
    }
    assert_eq!(reap(engine.as_ref()).await.unwrap(), Reaped { containers: 1, snapshots: 0 });
    assert_eq!(fake.live(), 3);
}

#[tokio::test]
async fn snapshots_of_dead_owners_are_reaped_with_those_made_of_them() {
    let (_, engine, spec) = engine();
    let owner = Owner::this_process().to_string();
    let dead = owner.rsplit_once(' ').unwrap().0.to_owned() + " 1";
    let snapshot = async |root: Root, owner: &str| {
        let spec = ContainerSpec {
            root,
            name_hint: "test".into(),
            labels: BTreeMap::from([(OWNER_LABEL.to_owned(), owner.to_owned())]),
            network: Network::None,
            capabilities: Vec::new(),
            limits: spec.limits,
            hostname: "test".into(),
            init: false,
        };
        engine.snapshot(&engine.create(&spec).await.unwrap()).await.unwrap()
    };
    let lowest = snapshot(spec.root.clone(), &dead).await;
    let middle = snapshot(Root::Snapshot(lowest), &dead).await;
    snapshot(Root::Snapshot(middle), &dead).await;
    let living = snapshot(spec.root.clone(), &owner).await;
    assert_eq!(reap(engine.as_ref()).await.unwrap(), Reaped { containers: 0, snapshots: 3 });
    let left = engine.find(&crate::engine::Query::SnapshotsLabelled(OWNER_LABEL.to_owned())).await.unwrap();
    assert!(
        matches!(left.as_slice(), [crate::engine::Found::Snapshot { id, .. }] if *id == living),
        "{left:?}"
    );
}

#[tokio::test]
async fn a_snapshot_goes_with_its_value_and_not_before_what_is_made_of_it() {
    let (fake, engine, spec) = engine();
    let cancel = CancellationToken::new();
    let snapshot = scope(&engine, spec.clone(), &cancel, async |sandbox| sandbox.snapshot().await.unwrap());
    let snapshot = snapshot.await.unwrap();
    assert_eq!(fake.live(), 0);
    let spec = SandboxSpec { root: snapshot.root(), ..spec };
    scope(&engine, spec, &cancel, async |_| drop(snapshot)).await.unwrap();
    let label = crate::engine::Query::SnapshotsLabelled(OWNER_LABEL.to_owned());
    for _ in 0..100 {
        if engine.find(&label).await.unwrap().is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the snapshot is still there");
}
