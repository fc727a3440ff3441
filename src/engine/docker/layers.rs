use std::collections::BTreeMap;

use bollard::models::CreateImageInfo;

use crate::engine::Progress;

/// How far the layers of a pull are, as the engine tells of each: bytes, and of how many.
#[derive(Default)]
pub(super) struct Layers(BTreeMap<String, (u64, u64)>);

impl Layers {
    /// Takes a line of what the engine tells.
    pub(super) fn hear(&mut self, line: CreateImageInfo) {
        let (Some(id), Some(detail)) = (line.id, line.progress_detail) else { return };
        let bytes = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok());
        // Unpacking is told in the same way, once more from the start.
        if let (Some(now), Some(total)) = (bytes(detail.current), bytes(detail.total))
            && line.status.as_deref() == Some("Downloading")
        {
            self.0.insert(id, (now, total));
        } else if let Some((now, total)) = self.0.get_mut(&id) {
            *now = *total;
        }
    }

    /// What is in all is not known before every layer was told of: it grows.
    pub(super) fn tell(&self, progress: &Progress) {
        let (done, total) =
            self.0.values().fold((0, 0), |(done, all), (now, total)| (done + now, all + total));
        if total > 0 {
            progress.tell(done, Some(total));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use bollard::models::ProgressDetail;

    use super::*;

    #[test]
    fn what_came_of_all_layers_is_told_together() {
        let line = |id: &str, status: &str, numbers: Option<(i64, i64)>| CreateImageInfo {
            id: Some(id.to_owned()),
            status: Some(status.to_owned()),
            progress_detail: Some(ProgressDetail {
                current: numbers.map(|(current, _)| current),
                total: numbers.map(|(_, total)| total),
            }),
            ..CreateImageInfo::default()
        };
        let told = Arc::new(Mutex::new(Vec::new()));
        let keep = told.clone();
        let progress = Progress::to(move |done, total| keep.lock().unwrap().push((done, total)));
        let mut layers = Layers::default();
        for line in [
            line("a", "Pulling fs layer", None),
            line("a", "Downloading", Some((10, 100))),
            line("b", "Downloading", Some((5, 50))),
            line("a", "Download complete", None),
            line("a", "Extracting", Some((1, 100))),
        ] {
            layers.hear(line);
            layers.tell(&progress);
        }
        let told = told.lock().unwrap().clone();
        assert_eq!(told, [(10, Some(100)), (15, Some(150)), (105, Some(150)), (105, Some(150))]);
    }
}
