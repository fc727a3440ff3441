use std::time::Duration;

use bytesize::ByteSize;
use schemars::JsonSchema;
use serde::Deserialize;

use super::schema;

/// What the stages that run a project's code may use.
#[derive(Clone, Debug, PartialEq)]
pub struct StageLimits {
    /// Bytes of memory, swap included.
    pub memory: u64,
    /// Processes and threads.
    pub processes: u32,
    /// Processors' worth of time; `None` is all.
    pub cpus: Option<f64>,
    /// Bytes that one step may print.
    pub output: u64,
    /// Bytes of all artifacts together.
    pub artifacts: u64,
    /// How long one step may take.
    pub time: Duration,
    /// How long a step may print nothing.
    pub silence: Duration,
}

/// How much longer a step may take for a target that names an architecture: programs in an emulator are that much slower.
pub const EMULATION_FACTOR: u32 = 8;

impl StageLimits {
    /// The same, with time for an emulator.
    pub fn emulated(&self) -> Self {
        let longer = |time: Duration| time.saturating_mul(EMULATION_FACTOR);
        Self { time: longer(self.time), silence: longer(self.silence), ..self.clone() }
    }
}

impl Default for StageLimits {
    fn default() -> Self {
        Self {
            memory: 4 << 30,
            processes: 2048,
            cpus: None,
            output: 64 << 20,
            artifacts: 4 << 30,
            time: Duration::from_secs(3600),
            silence: Duration::from_secs(15 * 60),
        }
    }
}

/// What the stages that run a project's code may use.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawLimits {
    /// Memory with swap, at least 16 MiB: 4 GiB unless this says otherwise.
    #[serde(default, deserialize_with = "size")]
    #[schemars(schema_with = "schema::size")]
    memory: Option<u64>,
    /// Processes and threads: 2048 unless this says otherwise.
    #[schemars(range(min = 16))]
    processes: Option<u32>,
    /// Processors' worth of time: all unless this says otherwise.
    #[schemars(range(min = 0.01))]
    cpus: Option<f64>,
    /// What one step may print: 64 MiB unless this says otherwise.
    #[serde(default, deserialize_with = "size")]
    #[schemars(schema_with = "schema::size")]
    output: Option<u64>,
    /// All artifacts together: 4 GiB unless this says otherwise.
    #[serde(default, deserialize_with = "size")]
    #[schemars(schema_with = "schema::size")]
    artifacts: Option<u64>,
    /// How long one step may take: an hour unless this says otherwise.
    #[serde(default, deserialize_with = "optional_duration")]
    #[schemars(schema_with = "schema::duration")]
    time: Option<Duration>,
    /// How long a step may print nothing: 15 minutes unless this says otherwise, two in verify.
    #[serde(default, deserialize_with = "optional_duration")]
    #[schemars(schema_with = "schema::duration")]
    silence: Option<Duration>,
}

impl RawLimits {
    /// `base` with what this table says in its place.
    pub fn over(&self, base: &StageLimits) -> StageLimits {
        StageLimits {
            memory: self.memory.unwrap_or(base.memory),
            processes: self.processes.unwrap_or(base.processes),
            cpus: self.cpus.or(base.cpus),
            output: self.output.unwrap_or(base.output),
            artifacts: self.artifacts.unwrap_or(base.artifacts),
            time: self.time.unwrap_or(base.time),
            silence: self.silence.unwrap_or(base.silence),
        }
    }

    /// What cannot be a limit, in words.
    pub fn problem(&self) -> Option<&'static str> {
        if self.memory.is_some_and(|bytes| bytes < 16 << 20) {
            Some("`memory` must be at least 16 MiB")
        } else if self.processes.is_some_and(|n| n < 16) {
            Some("`processes` must be at least 16")
        } else if self.cpus.is_some_and(|n| !n.is_finite() || n < 0.01) {
            Some("`cpus` must be at least 0.01")
        } else if [self.time, self.silence].into_iter().flatten().any(|d| d < Duration::from_secs(1)) {
            Some("`time` and `silence` must be at least 1s")
        } else {
            None
        }
    }
}

fn size<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let text = String::deserialize(deserializer)?;
    match text.parse::<ByteSize>() {
        Ok(size) => Ok(Some(size.as_u64())),
        Err(_) => {
            Err(serde::de::Error::custom(format!("`{text}` is not a size such as \"512 MiB\" or \"2 GiB\"")))
        }
    }
}

fn optional_duration<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Duration>, D::Error> {
    duration(deserializer).map(Some)
}

/// Reads a duration such as "90s" or "1h 30m".
pub(super) fn duration<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    humantime::parse_duration(&text).map_err(|_| {
        serde::de::Error::custom(format!("`{text}` is not a duration such as \"90s\" or \"1h 30m\""))
    })
}
