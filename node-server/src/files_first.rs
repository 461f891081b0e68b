//! There is one snapshot at a time, and a full sync holds it for as long as its replica takes to read. What is to be on
//! the disk before the process may leave, or before anybody's reply may leave, does not wait for that: full syncs under
//! way are cut, and begin again behind it (Redis kills the children that feed replicas when it shuts down).

use tokio::sync::watch;

/// How many files are in need of the snapshot.
#[derive(Debug)]
pub(crate) struct FilesFirst(watch::Sender<usize>);

/// While it lives no full sync holds the snapshot.
#[derive(Debug)]
pub(crate) struct First(watch::Sender<usize>);

impl Default for FilesFirst {
    fn default() -> Self {
        Self(watch::Sender::new(0))
    }
}

impl FilesFirst {
    /// A file needs it.
    pub(crate) fn begin(&self) -> First {
        self.0.send_modify(|count| *count += 1);
        First(self.0.clone())
    }

    /// Whether full syncs have to wait.
    pub(crate) fn is_on(&self) -> bool {
        *self.0.borrow() > 0
    }

    /// Ends when a file needs it.
    pub(crate) async fn wanted(&self) {
        // The sender is this.
        let _ = self.0.subscribe().wait_for(|count| *count > 0).await;
    }
}

impl Drop for First {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_long_as_one_of_them_lives() {
        let first = FilesFirst::default();
        assert!(!first.is_on());
        let (one, two) = (first.begin(), first.begin());
        drop(one);
        assert!(first.is_on());
        drop(two);
        assert!(!first.is_on());
    }
}
