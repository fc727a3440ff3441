use std::collections::BTreeMap;

use super::CommitSpec;
use crate::model::Digest;

/// When images are said to have been made, so that the same contents always are the same image.
const CREATED: &str = "2000-01-01T00:00:00Z";

/// What an image says of itself, for those who start containers of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Says {
    pub(super) cmd: Vec<String>,
    pub(super) entrypoint: Vec<String>,
    pub(super) user: Option<String>,
    pub(super) env: Vec<String>,
    pub(super) working_dir: Option<String>,
    pub(super) labels: BTreeMap<String, String>,
}

impl Says {
    /// What an image says that is made of a container as `spec` wants: what its parent says, and the labels of `spec`.
    pub(super) fn after(self, spec: &CommitSpec) -> Self {
        // Not the idle loop of ours: what the parent starts.
        let shell = || vec!["/bin/sh".to_owned()];
        let mut labels = self.labels;
        // An engine that cannot leave out labels of containers has left them, emptied.
        labels.retain(|_, value| !value.is_empty());
        labels.extend(spec.labels.clone());
        Self { cmd: if self.cmd.is_empty() { shell() } else { self.cmd }, labels, ..self }
    }

    /// An image configuration (OCI image specification, "Image Configuration") that says nothing of when and where the image was
    /// made.
    pub(super) fn as_config(&self, arch: &str, layers: &[Digest], comment: &str) -> Vec<u8> {
        let mut config = serde_json::json!({ "Cmd": self.cmd, "Env": self.env, "Labels": self.labels });
        if !self.entrypoint.is_empty() {
            config["Entrypoint"] = serde_json::json!(self.entrypoint);
        }
        for (name, value) in [("User", &self.user), ("WorkingDir", &self.working_dir)] {
            if let Some(value) = value.as_ref().filter(|value| !value.is_empty()) {
                config[name] = serde_json::json!(value);
            }
        }
        let step = serde_json::json!({ "created": CREATED, "created_by": "packhold" });
        let mut history = vec![step; layers.len()];
        if let Some(last) = history.last_mut() {
            last["comment"] = serde_json::json!(comment);
        }
        let document = serde_json::json!({
            "architecture": arch, "os": "linux", "created": CREATED, "config": config,
            "rootfs": { "type": "layers", "diff_ids": layers }, "history": history,
        });
        document.to_string().into_bytes()
    }
}
