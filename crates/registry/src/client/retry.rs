//! When to try again, and after how long. Pure.

use std::time::Duration;

use http::{HeaderMap, Method, StatusCode, header};

/// Longer than this nobody waits on a registry's word.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// Steps of doubling.
const DOUBLINGS_MAX: u32 = 6;

/// How often, and how fast.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Policy {
    pub(crate) attempts: u32,
    /// Before the second attempt; doubled before each further one.
    pub(crate) pause: Duration,
}

impl Policy {
    /// How long to wait after an answer before the next attempt; `None`: it is final.
    pub(crate) fn after_answer(
        self,
        method: &Method,
        status: StatusCode,
        headers: &HeaderMap,
        attempt: u32,
    ) -> Option<Duration> {
        let is_temporary = match status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => true,
            StatusCode::INTERNAL_SERVER_ERROR
            | StatusCode::BAD_GATEWAY
            | StatusCode::GATEWAY_TIMEOUT => {
                // What changes something may have happened all the same.
                matches!(*method, Method::GET | Method::HEAD)
            }
            _ => false,
        };
        if !is_temporary || attempt >= self.attempts {
            return None;
        }
        match retry_after(headers) {
            Some(wait) => (wait <= WAIT_MAX).then_some(wait),
            None => Some(self.pause_before(attempt)),
        }
    }

    /// How long to wait after a broken connection; `None`: give up.
    pub(crate) fn after_break(self, attempt: u32) -> Option<Duration> {
        (attempt < self.attempts).then(|| self.pause_before(attempt))
    }

    /// Half of it is left to chance, so that many clients do not come back at once.
    fn pause_before(self, attempt: u32) -> Duration {
        let full = self.pause * 2_u32.pow(attempt.saturating_sub(1).min(DOUBLINGS_MAX));
        let mut byte = [0_u8; 1];
        let _ = ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut byte);
        full / 2 + full * u32::from(byte[0]) / 512
    }
}

/// In seconds; a date is not worth a clock's word.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    text.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_pass_is_tried_again() {
        let policy = Policy {
            attempts: 3,
            pause: Duration::from_secs(1),
        };
        let none = HeaderMap::new();
        for (method, status, again) in [
            (Method::GET, 429, true),
            (Method::PUT, 429, true),
            (Method::GET, 500, true),
            (Method::PUT, 500, false),
            (Method::PUT, 503, true),
            (Method::GET, 404, false),
            (Method::GET, 401, false),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(
                policy.after_answer(&method, status, &none, 1).is_some(),
                again,
                "{method} {status}"
            );
            assert_eq!(policy.after_answer(&method, status, &none, 3), None);
        }
    }

    #[test]
    fn pauses_double_and_a_registrys_word_counts() {
        let policy = Policy {
            attempts: 9,
            pause: Duration::from_secs(1),
        };
        for (attempt, least, most) in [(1, 500, 1000), (2, 1000, 2000), (4, 4000, 8000)] {
            let pause = policy.after_break(attempt).unwrap().as_millis();
            assert!((least..=most).contains(&pause), "{attempt}: {pause}");
        }
        let status = StatusCode::TOO_MANY_REQUESTS;
        let mut headers = HeaderMap::new();
        headers.insert(header::RETRY_AFTER, "7".parse().unwrap());
        assert_eq!(
            policy.after_answer(&Method::GET, status, &headers, 1),
            Some(Duration::from_secs(7))
        );
        headers.insert(header::RETRY_AFTER, "7200".parse().unwrap());
        assert_eq!(policy.after_answer(&Method::GET, status, &headers, 1), None);
    }
}
