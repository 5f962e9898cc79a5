//! The MD5 of many bodies at once, eight of them in about twice the time of one.
//!
//! While few bodies come in, each has its MD5 made beside its other digests. When there are many, whole chunks are
//! handed in here instead, and whatever waits is hashed side by side; a lane that is through takes the next chunk.
//! Workers have threads of their own: one goes on while chunks come, for which no other body's digests may wait.
//!
//! Invariant: a body has one chunk here at a time, so that its MD5 sees its bytes in order.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::dataplane::budget::Room;
use crate::md5::{LANES, Md5, update_lanes};

/// From so many large bodies at once, hashing side by side is worth its wait.
const MANY: usize = 3;
/// Bytes of each lane between two looks at the queue.
const TURN_BYTES: usize = 64 * 1024;
/// Half the lanes cost less than all of them: from so many bodies on, all are used.
const WORTH_ALL_LANES: usize = 7;
/// A worker has its lanes full; so many more chunks that wait call for another one.
const WAITING_FOR_ANOTHER: usize = LANES;

/// Chunks that wait for their MD5. All of a process share the lanes, so that those for ETags and those for
/// `Content-MD5` fill them together.
#[derive(Debug)]
pub(crate) struct Md5Lanes {
    bodies: Arc<AtomicUsize>,
    queue: Arc<Mutex<Queue>>,
}

impl Default for Md5Lanes {
    fn default() -> Self {
        static SHARED: LazyLock<Arc<Mutex<Queue>>> = LazyLock::new(Arc::default);
        Self { bodies: Arc::default(), queue: Arc::clone(&SHARED) }
    }
}

#[derive(Debug, Default)]
struct Queue {
    chunks: VecDeque<Job>,
    workers: usize,
}

#[derive(Debug)]
struct Job {
    md5: Md5,
    bytes: Bytes,
    /// The chunk's memory is counted until it is hashed.
    _room: Option<Arc<Room>>,
    answer: oneshot::Sender<Md5>,
}

/// Counts a large body for as long as it comes in.
#[derive(Debug)]
pub(super) struct LargeBody(Arc<AtomicUsize>);

impl Drop for LargeBody {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Md5Lanes {
    /// A body that goes on past its first bytes.
    pub(super) fn enter(&self) -> LargeBody {
        self.bodies.fetch_add(1, Ordering::Relaxed);
        LargeBody(Arc::clone(&self.bodies))
    }

    /// Whether so many large bodies come in that their chunks should be handed in here.
    pub(super) fn many(&self) -> bool {
        self.bodies.load(Ordering::Relaxed) >= MANY
    }

    /// Hashes a chunk; the answer is the MD5 behind it.
    pub(crate) fn update(&self, md5: Md5, bytes: Bytes, room: Option<Arc<Room>>) -> oneshot::Receiver<Md5> {
        let (answer, answered) = oneshot::channel();
        let mut queue = lock(&self.queue);
        queue.chunks.push_back(Job { md5, bytes, _room: room, answer });
        let wanted = queue.workers == 0 || queue.chunks.len() > queue.workers * WAITING_FOR_ANOTHER;
        if wanted && queue.workers < rayon::current_num_threads() {
            queue.workers += 1;
            drop(queue);
            begin_work(&self.queue);
        }
        answered
    }
}

fn begin_work(queue: &Arc<Mutex<Queue>>) {
    let named = std::thread::Builder::new().name("md5-lanes".to_owned());
    let mine = Arc::clone(queue);
    if named.spawn(move || work(&mine)).is_err() {
        // No more threads are to be had: then where the other digests are made.
        let shared = Arc::clone(queue);
        rayon::spawn(move || work(&shared));
    }
}

fn lock(queue: &Mutex<Queue>) -> MutexGuard<'_, Queue> {
    // Nothing panics while it is held.
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

fn work(queue: &Mutex<Queue>) {
    let mut lanes: Vec<Job> = Vec::with_capacity(LANES);
    loop {
        {
            let mut queue = lock(queue);
            while lanes.len() < LANES
                && let Some(job) = queue.chunks.pop_front()
            {
                lanes.push(job);
            }
            if lanes.is_empty() {
                queue.workers -= 1;
                return;
            }
        }
        turn(&mut lanes);
        for job in lanes.extract_if(.., |job| job.bytes.is_empty()) {
            // Whoever went away wants no answer.
            let _ = job.answer.send(job.md5);
        }
    }
}

/// Takes some bytes of every lane; of at least one, all that is left when that is little.
fn turn(lanes: &mut [Job]) {
    for job in &mut *lanes {
        let to_boundary = job.md5.to_boundary().min(job.bytes.len());
        job.alone(to_boundary);
    }
    let together = match lanes.len() {
        0 | 1 => 0,
        2..WORTH_ALL_LANES => {
            let first = lanes.len().min(LANES / 2);
            let together = side_by_side(&mut lanes[..first]);
            lanes.rotate_left(first);
            together
        }
        _ => side_by_side(lanes),
    };
    if together == 0 {
        // One lane alone, or one that has less than a block left.
        lanes.iter_mut().min_by_key(|job| job.bytes.len()).into_iter().for_each(|job| job.alone(TURN_BYTES));
    }
}

impl Job {
    fn alone(&mut self, most_bytes: usize) {
        let piece = self.bytes.split_to(most_bytes.min(self.bytes.len()));
        self.md5.update(&piece);
    }
}

/// Whole blocks of all these lanes at once.
fn side_by_side(lanes: &mut [Job]) -> usize {
    let mut bytes: Vec<&[u8]> = Vec::with_capacity(LANES);
    let mut md5s: Vec<&mut Md5> = Vec::with_capacity(LANES);
    for job in &mut *lanes {
        bytes.push(&job.bytes[..job.bytes.len().min(TURN_BYTES)]);
        md5s.push(&mut job.md5);
    }
    let taken = update_lanes(&mut md5s, &bytes);
    for job in lanes {
        drop(job.bytes.split_to(taken));
    }
    taken
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use md5::Digest as _;

    use super::Md5Lanes;
    use crate::digest::Md5Digest;
    use crate::md5::Md5;

    #[tokio::test]
    async fn chunks_of_many_bodies_at_once_have_each_their_own_md5() {
        let lanes = Md5Lanes::default();
        let body = |n: usize| -> Vec<u8> { (0..n * 40_009 % 300_001).map(|at| (at * n % 251) as u8).collect() };
        for count in [1, 2, 3, 4, 5, 9, 40] {
            let waiting: Vec<_> = (0..count)
                .map(|n| {
                    let mut md5 = Md5::new();
                    let bytes = body(n);
                    // Some begin within a block.
                    let begin = (n * 7).min(bytes.len());
                    md5.update(&bytes[..begin]);
                    (lanes.update(md5, Bytes::from(bytes.clone()).slice(begin..), None), bytes)
                })
                .collect();
            for (answer, bytes) in waiting {
                let digest = answer.await.unwrap().finalize();
                assert_eq!(digest, Md5Digest(md5::Md5::digest(&bytes).into()));
            }
        }
    }

    #[test]
    fn bodies_are_many_only_while_they_are_there() {
        let lanes = Md5Lanes::default();
        let mut bodies: Vec<_> = (0..super::MANY).map(|_| lanes.enter()).collect();
        assert!(lanes.many());
        bodies.pop();
        assert!(!lanes.many());
    }
}
