use std::fs::File;
use std::io;
use std::sync::mpsc::{SyncSender, sync_channel};

/// Lets the disk write what a file has so far while more is made: what is left of it is little when all must be on disk.
pub(super) struct EarlySync {
    wake: SyncSender<()>,
    /// Bytes of the file that it was woken for.
    seen: u64,
}

impl EarlySync {
    /// Bytes after which the disk may begin.
    const STEP: u64 = 16 << 20;

    /// The thread ends with this value, or with the work that it is at then.
    pub(super) fn of(file: &File) -> io::Result<Self> {
        let (wake, woken) = sync_channel(1);
        let file = file.try_clone()?;
        std::thread::Builder::new().name("sync".to_owned()).spawn(move || {
            // The sync at the end says of errors too.
            woken.iter().for_each(|()| drop(file.sync_data()));
        })?;
        Ok(Self { wake, seen: 0 })
    }

    pub(super) fn written(&mut self, bytes: u64) {
        if bytes - self.seen >= Self::STEP {
            self.seen = bytes;
            let _ = self.wake.try_send(());
        }
    }
}
