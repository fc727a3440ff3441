use tokio::sync::mpsc::UnboundedSender;

use crate::model::Event;

/// Where events go. Nobody has to listen.
#[derive(Clone, Debug)]
pub struct Reporter(UnboundedSender<Event>);

impl Reporter {
    /// A reporter that sends to `events`.
    pub fn new(events: UnboundedSender<Event>) -> Self {
        Self(events)
    }

    /// Says what happened.
    pub fn say(&self, event: Event) {
        // A listener that went away does not stop the work.
        let _ = self.0.send(event);
    }

    /// Says what a person should know.
    pub fn warn(&self, message: impl Into<String>) {
        self.say(Event::Warning { message: message.into() });
    }
}
