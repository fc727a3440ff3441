use std::sync::Arc;

type Listener = dyn Fn(u64, Option<u64>) + Send + Sync;

/// Is told how much of something has come. By default nobody listens. Cloning is cheap, and gives the same listener.
#[derive(Clone, Default)]
pub struct Progress(Option<Arc<Listener>>);

impl Progress {
    /// Tells `listen` how many bytes have come so far, and of how many, where that is known. It is told often.
    pub fn to(listen: impl Fn(u64, Option<u64>) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(listen)))
    }

    /// So many bytes have come.
    pub fn tell(&self, done: u64, total: Option<u64>) {
        if let Some(listen) = &self.0 {
            listen(done, total);
        }
    }
}
