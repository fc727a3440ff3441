use super::{Message, Notifier, Secret};
use crate::config::Webhook;

/// Sends a message with the headers of Standard Webhooks 1.0.
pub(super) async fn send(
    notifier: &Notifier,
    hook: &Webhook,
    secret: &Secret,
    message: &Message,
) -> Result<(), String> {
    let time = message.time.to_string();
    let signature = secret.sign(&[message.id.as_bytes(), b".", time.as_bytes(), b".", &message.body]);
    let request = |client: &reqwest::Client| {
        client
            .post(hook.url.clone())
            .header("content-type", "application/json")
            .header("webhook-id", &message.id)
            .header("webhook-timestamp", &time)
            .header("webhook-signature", format!("v1,{signature}"))
            .body(message.body.clone())
    };
    notifier.post(request).await
}
