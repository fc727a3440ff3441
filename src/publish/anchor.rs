use std::time::Duration;

use super::{PublishError, Result};

/// How often a publisher tries again when others were quicker.
const ATTEMPTS: u32 = 100;

/// Waits a little, longer with each attempt and not as long as others do.
pub(super) async fn wait(key: &str, attempt: &mut u32) -> Result<()> {
    *attempt += 1;
    if *attempt >= ATTEMPTS {
        return Err(PublishError::Contended { key: key.to_owned(), attempts: *attempt });
    }
    let most = 50 * u64::from((*attempt).min(20));
    tokio::time::sleep(Duration::from_millis(fastrand::u64(10..=most))).await;
    Ok(())
}
