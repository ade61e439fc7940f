//! What the service manager (systemd's `Type=notify`) is told. Without one, nothing happens.

use sd_notify::NotifyState;

pub struct ServiceManager {
    is_there: bool,
}

impl ServiceManager {
    pub fn new() -> Self {
        Self { is_there: std::env::var_os("NOTIFY_SOCKET").is_some() }
    }

    pub fn ready(&self) {
        self.send(&[NotifyState::Ready]);
    }

    pub fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.send(&[NotifyState::Reloading, now]),
            Err(_) => self.send(&[NotifyState::Reloading]),
        }
    }

    pub fn stopping(&self) {
        self.send(&[NotifyState::Stopping]);
    }

    pub fn status(&self, text: &str) {
        self.send(&[NotifyState::Status(text)]);
    }

    fn send(&self, states: &[NotifyState<'_>]) {
        if self.is_there
            && let Err(error) = sd_notify::notify(states)
        {
            tracing::debug!(%error, "the service manager could not be told");
        }
    }
}

impl Default for ServiceManager {
    fn default() -> Self {
        Self::new()
    }
}
