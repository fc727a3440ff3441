use tracing::level_filters::LevelFilter;
use tracing_log::{AsLog, LogTracer};
use tracing_subscriber::EnvFilter;

/// The OpenPGP library, which writes secret keys into its log at the level `debug`.
const SECRETIVE: &str = "pgp";

/// Writes what is logged to standard error, as far as `PACKHOLD_LOG` wants it. What the OpenPGP library says is never written, whatever that wants.
pub(super) fn begin() {
    let filter = EnvFilter::try_from_env("PACKHOLD_LOG").unwrap_or_else(|_| "warn".into());
    let most = filter.max_level_hint().unwrap_or(LevelFilter::TRACE);
    // Not the one of the subscriber's own `init`, which would take records of every library.
    let tracer = LogTracer::builder().with_max_level(most.as_log()).ignore_crate(SECRETIVE);
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .without_time()
        .finish();
    // Only a second start could fail, and there is none.
    let _ = tracer.init();
    let _ = tracing::subscriber::set_global_default(subscriber);
}
