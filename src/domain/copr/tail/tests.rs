//! What answers mean, those of servers to whom something happens too.

use proptest::prelude::*;

use super::*;

const fn head(status: u16, range: Option<Range>) -> Head {
    Head { status, range, is_packed: false, is_page: false }
}

fn read(tail: &mut Tail, head: Head, body: &[u8], is_whole: bool) -> Result<(Vec<u8>, Brought), Differs> {
    let Meaning::Body(mut reading) = tail.judge(Form::Raw, head) else { panic!("no body") };
    let mut new = Vec::new();
    for piece in body.chunks(7) {
        new.extend_from_slice(tail.take(&mut reading, piece)?);
    }
    tail.end(&reading, is_whole).map(|brought| (new, brought))
}

fn at(text: &[u8]) -> Tail {
    let mut tail = Tail::default();
    read(&mut tail, head(200, None), text, true).expect("the first time");
    tail
}

#[expect(clippy::unnecessary_wraps, reason = "a head may have none")]
fn range(start: usize, end: usize) -> Option<Range> {
    Some(Range { start: start as u64, end: end as u64 })
}

#[test]
fn l4_no_news_is_an_answer_and_not_an_error() {
    let text = [b'x'; 400];
    let mut tail = at(&text);
    assert_eq!(tail.ask_from(), Some(144));
    let idle = read(&mut tail, head(206, range(144, 399)), &text[144..], true);
    assert_eq!(idle, Ok((Vec::new(), Brought::Nothing)));
}

#[test]
fn l7_416_alone_is_never_the_end_and_l13_often_in_a_row_a_new_beginning() {
    let mut tail = at(b"some text");
    assert_eq!(tail.judge(Form::Raw, head(416, None)), Meaning::Shrunk);
    assert_eq!((tail.shrunk(), tail.shrunk(), tail.shrunk()), (Ok(()), Ok(()), Err(Differs)));
    tail.restart();
    assert_eq!((tail.offset(), tail.restarts(), tail.has_any()), (0, 1, true));
    assert_eq!(tail.judge(Form::Raw, head(416, None)), Meaning::Fault, "nothing was asked from anywhere");
}

#[test]
fn l13_a_log_that_outgrew_its_predecessor_is_found_out_by_what_it_says() {
    let mut tail = at(&[b'x'; 300]);
    let other = [b'y'; 500];
    assert_eq!(read(&mut tail, head(206, range(44, 499)), &other[44..], true), Err(Differs));
    let mut beginning = [b'x'; 500];
    beginning[0] = b'y';
    assert_eq!(read(&mut tail, head(200, None), &beginning, true), Err(Differs), "only the whole body shows it");
    assert_eq!(tail.offset(), 300);
}

#[test]
fn l5_what_is_not_there_is_missing_and_what_says_nothing_is_a_fault() {
    let tail = at(b"some text");
    for status in [301, 302, 307, 308, 403, 404, 410] {
        assert_eq!(tail.judge(Form::Raw, head(status, None)), Meaning::Missing, "{status}");
    }
    for status in [400, 401, 408, 429, 500, 502, 503, 504, 206] {
        assert_eq!(tail.judge(Form::Raw, head(status, None)), Meaning::Fault, "{status}");
    }
    let later = head(206, range(5, 20));
    assert_eq!(tail.judge(Form::Raw, later), Meaning::Fault, "bytes would be lost");
    let page = Head { is_page: true, ..head(200, None) };
    assert_eq!(tail.judge(Form::Raw, page), Meaning::Fault);
    let packed = Head { is_packed: true, ..head(206, range(0, 20)) };
    assert_eq!(tail.judge(Form::Raw, packed), Meaning::Fault, "a range of what is packed");
}

#[test]
fn ranges_are_read_as_servers_write_them() {
    assert_eq!(Range::parse("bytes 1691-1700/1701"), range(1691, 1700));
    assert_eq!(Range::parse("bytes 0-0/*"), range(0, 0));
    for nonsense in ["", "bytes */12", "bytes 5-1/9", "lines 1-2/3", "bytes 1/2", "bytes -5-9/9"] {
        assert_eq!(Range::parse(nonsense), None, "{nonsense}");
    }
}

#[test]
fn what_is_kept_is_read_again_as_it_was() {
    let tail = at(&[b'z'; 1000]);
    let kept = serde_json::to_string(&tail).expect("JSON");
    assert!(kept.len() < 600, "{kept}");
    assert_eq!(serde_json::from_str::<Tail>(&kept).expect("a tail"), tail);
}

/// An answer of a server to whom something happens; the numbers say how much of it.
#[derive(Debug, Clone)]
enum Answer {
    Right,
    Whole,
    Cut(usize),
    WholeCut(usize),
    Stale(usize),
    Beyond,
    TooLong,
    Status(u16),
    Page,
    Gap,
}

fn answers() -> impl Strategy<Value = Answer> {
    prop_oneof![
        3 => Just(Answer::Right),
        1 => Just(Answer::Whole),
        1 => (0usize..400).prop_map(Answer::Cut),
        1 => (0usize..900).prop_map(Answer::WholeCut),
        1 => (1usize..400).prop_map(Answer::Stale),
        1 => Just(Answer::Beyond),
        1 => Just(Answer::TooLong),
        1 => prop_oneof![Just(301), Just(404), Just(500), Just(503), Just(429)].prop_map(Answer::Status),
        1 => Just(Answer::Page),
        1 => Just(Answer::Gap),
    ]
}

/// Answers a question for the log as it is, and returns what of it was new.
fn ask(tail: &mut Tail, log: &[u8], answer: &Answer) -> Result<Vec<u8>, Differs> {
    let from = tail.ask_from().map(clamped);
    let part = |log: &[u8]| match from {
        Some(from) if from < log.len() => (head(206, range(from, log.len() - 1)), log[from..].to_vec()),
        Some(_) => (head(416, None), Vec::new()),
        None => (head(200, None), log.to_vec()),
    };
    let (status, mut body, is_whole) = match answer {
        Answer::Right => (part(log).0, part(log).1, true),
        Answer::Whole => (head(200, None), log.to_vec(), true),
        Answer::Cut(length) => (part(log).0, part(log).1[..part(log).1.len().min(*length)].to_vec(), false),
        Answer::WholeCut(length) => (head(200, None), log[..log.len().min(*length)].to_vec(), false),
        Answer::Stale(by) => {
            let old = &log[..log.len().saturating_sub(*by)];
            (part(old).0, part(old).1, true)
        }
        Answer::Beyond => (head(416, None), Vec::new(), true),
        Answer::TooLong => (part(log).0, part(log).1, true),
        Answer::Status(status) => (head(*status, None), b"<html>".to_vec(), true),
        Answer::Page => (Head { is_page: true, ..head(200, None) }, b"<html>".to_vec(), true),
        Answer::Gap => (head(206, range(from.unwrap_or(0) + 1, 5000)), b"later".to_vec(), true),
    };
    if matches!(answer, Answer::TooLong) && status.status == 206 {
        body.extend_from_slice(b"and what nobody asked for");
    }
    match tail.judge(Form::Raw, status) {
        Meaning::Body(_) => read(tail, status, &body, is_whole).map(|(new, _)| new),
        Meaning::Shrunk => tail.shrunk().map(|()| Vec::new()),
        Meaning::Missing | Meaning::Fault => Ok(Vec::new()),
    }
}

proptest! {
    #[test]
    fn l4_l11_whatever_servers_answer_every_byte_comes_once(
        log in proptest::collection::vec(97u8..100, 0..900),
        steps in proptest::collection::vec((0usize..200, answers()), 0..40),
    ) {
        let (mut tail, mut seen, mut visible, mut behind) = (Tail::default(), Vec::new(), 0, 0);
        for (grown, answer) in steps {
            visible = (visible + grown).min(log.len());
            // Caches are behind for less time than it takes to ask thrice.
            behind += u8::from(matches!(answer, Answer::Stale(_) | Answer::Beyond));
            let answer = if behind >= BELIEVED { Answer::Right } else { answer };
            if matches!(answer, Answer::Right | Answer::Whole | Answer::TooLong) {
                behind = 0;
            }
            let new = ask(&mut tail, &log[..visible], &answer);
            // What was taken of a body before it broke off was taken.
            prop_assert!(new.is_ok(), "{answer:?}");
            seen.extend(new.expect("checked"));
            prop_assert_eq!(&seen[..], &log[..seen.len()]);
        }
        seen.extend(ask(&mut tail, &log, &Answer::Right).expect("the same log"));
        prop_assert_eq!(seen, log);
        prop_assert_eq!(tail.restarts(), 0);
    }

    #[test]
    fn l13_after_a_new_beginning_the_new_log_comes_whole(
        old in proptest::collection::vec(97u8..100, 1..700),
        new in proptest::collection::vec(100u8..103, 0..1400),
        answers in proptest::collection::vec(answers(), 0..20),
    ) {
        let mut tail = Tail::default();
        prop_assert_eq!(ask(&mut tail, &old, &Answer::Right).expect("the first time"), old);
        let mut seen = Vec::new();
        for answer in answers.into_iter().chain(std::iter::repeat_n(Answer::Right, 4)) {
            if let Ok(bytes) = ask(&mut tail, &new, &answer) {
                seen.extend(bytes);
            } else {
                seen.clear();
                tail.restart();
            }
        }
        seen.extend(ask(&mut tail, &new, &Answer::Right).unwrap_or_default());
        prop_assert!(tail.restarts() > 0);
        prop_assert_eq!(seen, new);
    }
}
