//! Answers that are asked for again by their `ETag`, which costs nothing of what may be asked in an hour.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use http::header::ETAG;
use http::{HeaderValue, Response};
use url::Url;

/// So many bytes are kept: 32 MiB. What was kept first goes first.
const MOST: usize = 32 << 20;

/// Answers by the address they were asked at.
#[derive(Debug, Default)]
pub(super) struct Remembered {
    answers: HashMap<Url, Response<Bytes>>,
    order: VecDeque<Url>,
    bytes: usize,
}

impl Remembered {
    /// The tag of what was answered last at an address.
    pub(super) fn etag(&self, url: &Url) -> Option<HeaderValue> {
        self.answers.get(url)?.headers().get(ETAG).cloned()
    }

    /// What was answered last at an address.
    pub(super) fn answer(&self, url: &Url) -> Option<Response<Bytes>> {
        self.answers.get(url).cloned()
    }

    /// Keeps an answer.
    pub(super) fn keep(&mut self, url: &Url, answer: &Response<Bytes>) {
        self.bytes += answer.body().len();
        match self.answers.insert(url.clone(), answer.clone()) {
            Some(before) => self.bytes -= before.body().len(),
            None => self.order.push_back(url.clone()),
        }
        while self.bytes > MOST {
            let Some(oldest) = self.order.pop_front() else { return };
            self.bytes -= self.answers.remove(&oldest).map_or(0, |answer| answer.body().len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(number: usize) -> Url {
        format!("https://forge.example/{number}").parse().expect("an address")
    }

    fn answer(etag: &str, length: usize) -> Response<Bytes> {
        Response::builder().header(ETAG, etag).body(vec![b'x'; length].into()).expect("well formed")
    }

    #[test]
    fn a_new_answer_takes_the_place_of_the_old() {
        let mut remembered = Remembered::default();
        remembered.keep(&url(1), &answer("a", 10));
        remembered.keep(&url(1), &answer("b", 3));
        assert_eq!(remembered.etag(&url(1)).expect("kept"), "b");
        assert_eq!((remembered.bytes, remembered.order.len()), (3, 1));
    }

    #[test]
    fn what_is_kept_is_bounded_and_the_oldest_goes_first() {
        let mut remembered = Remembered::default();
        for number in 0..40 {
            remembered.keep(&url(number), &answer("a", 1 << 20));
        }
        assert!(remembered.bytes <= MOST);
        assert_eq!(remembered.answers.len(), 32);
        assert!(remembered.etag(&url(7)).is_none());
        assert!(remembered.answer(&url(8)).is_some());
    }
}
