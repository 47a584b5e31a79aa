// SPDX-License-Identifier: MPL-2.0

//! Locks that ignore poisoning.
//!
//! A panic in one thread must not spread to the others through a lock. Panics are caught and
//! reported where they happen, and the state behind each lock is valid after every
//! statement, so that it can still be used after a panic in the middle of a critical section.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError, WaitTimeoutResult},
    time::Duration,
};

/// Locks `mutex`, also if a thread panicked while it held the lock.
pub fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits on `condvar`, also if a thread panicked while it held the lock.
///
/// As with [`Condvar::wait`], wakeups may be spurious.
pub fn wait<'a, T>(condvar: &Condvar, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
    condvar.wait(guard).unwrap_or_else(PoisonError::into_inner)
}

/// Waits on `condvar` for at most `timeout`, also if a thread panicked while it held the lock.
///
/// As with [`Condvar::wait_timeout`], wakeups may be spurious.
pub fn wait_timeout<'a, T>(
    condvar: &Condvar,
    guard: MutexGuard<'a, T>,
    timeout: Duration,
) -> (MutexGuard<'a, T>, WaitTimeoutResult) {
    condvar
        .wait_timeout(guard, timeout)
        .unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::{panic, thread};

    use super::*;

    #[test]
    fn lock_poisoned_mutex_gives_its_value() {
        let mutex = Mutex::new(1);
        let changed = Condvar::new();
        thread::scope(|scope| {
            let poisoner = scope.spawn(|| {
                let mut value = mutex.lock().expect("not poisoned yet");
                *value = 2;
                panic::resume_unwind(Box::new("poison"));
            });
            assert!(poisoner.join().is_err());
        });
        assert!(mutex.is_poisoned());

        let guard = lock(&mutex);
        let (guard, result) = wait_timeout(&changed, guard, Duration::from_millis(1));
        assert!(result.timed_out());
        assert_eq!(*guard, 2);
        drop(guard);

        thread::scope(|scope| {
            let mut guard = lock(&mutex);
            scope.spawn(|| {
                *lock(&mutex) = 3;
                changed.notify_all();
            });
            while *guard != 3 {
                guard = wait(&changed, guard);
            }
        });
    }
}
