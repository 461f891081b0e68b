//! Decimal numbers for INCRBYFLOAT. Redis calculates in `long double` and prints 17 decimals; how precise that is
//! depends on the processor it runs on. Here the sum is exact, so 0.1 + 0.2 is 0.3 at any magnitude.

use std::cmp::Ordering;
use std::fmt;

/// Decimals that are kept; what is behind them is cut off.
const FRACTION: usize = 34;
/// Decimals that are shown (Redis: `%.17Lf`).
const SHOWN: usize = 17;
/// Numbers have at most this many digits before the point, as `long double` has.
const WHOLE_MAX: usize = 4932;
/// The smallest exponent of a `long double` that is not zero.
const EXPONENT_MIN: i64 = -4950;
/// Longest text of a number (Redis: MAX_LONG_DOUBLE_CHARS).
const TEXT_MAX: usize = 5 * 1024;

/// A number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Decimal {
    /// Sign, and digits with the least significant first; the first [`FRACTION`] of them are decimals.
    Finite {
        /// Whether it is below zero.
        negative: bool,
        /// Without zeros at the end.
        digits: Vec<u8>,
    },
    /// Either infinity.
    Infinite,
}

impl Decimal {
    /// Zero.
    pub(super) const ZERO: Self = Self::Finite { negative: false, digits: Vec::new() };

    /// Reads what `strtold` reads, but no hexadecimal; `None` when that is no number or out of range.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        if text.len() >= TEXT_MAX {
            return None;
        }
        let (negative, text) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            _ => (false, text),
        };
        if text.eq_ignore_ascii_case(b"inf") || text.eq_ignore_ascii_case(b"infinity") {
            return Some(Self::Infinite);
        }
        let (mantissa, exponent) = split_exponent(text)?;
        let (whole, fraction) = match mantissa.iter().position(|b| *b == b'.') {
            Some(point) => (&mantissa[..point], &mantissa[point + 1..]),
            None => (mantissa, &[][..]),
        };
        let all: Vec<u8> = whole.iter().chain(fraction).copied().collect();
        if all.is_empty() || !all.iter().all(u8::is_ascii_digit) {
            return None;
        }
        place(&all, exponent.saturating_sub(fraction.len() as i64), negative)
    }

    /// The sum; `None` when it is infinite.
    pub(super) fn add(&self, other: &Self) -> Option<Self> {
        let (Self::Finite { negative: a, digits: x }, Self::Finite { negative: b, digits: y }) =
            (self, other)
        else {
            return None;
        };
        let (negative, digits) = if a == b {
            (*a, plus(x, y))
        } else if compare(x, y) == Ordering::Less {
            (*b, minus(y, x))
        } else {
            (*a, minus(x, y))
        };
        (digits.len() <= FRACTION + WHOLE_MAX).then_some(Self::Finite { negative, digits })
    }
}

/// The text before `e`, and the number behind it.
fn split_exponent(text: &[u8]) -> Option<(&[u8], i64)> {
    let Some(at) = text.iter().position(|b| b.eq_ignore_ascii_case(&b'e')) else { return Some((text, 0)) };
    let exponent = std::str::from_utf8(&text[at + 1..]).ok()?;
    let digits = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let huge = if exponent.starts_with('-') { i64::MIN } else { i64::MAX };
    Some((&text[..at], exponent.parse().unwrap_or(huge)))
}

/// `digits` (most significant first, as text) times ten to the `exponent`.
fn place(digits: &[u8], exponent: i64, negative: bool) -> Option<Decimal> {
    let zeros = digits.iter().take_while(|b| **b == b'0').count();
    let digits = &digits[zeros..];
    if digits.is_empty() {
        return Some(Decimal::Finite { negative: false, digits: Vec::new() });
    }
    let magnitude = exponent.saturating_add(digits.len() as i64);
    if magnitude > WHOLE_MAX as i64 || magnitude < EXPONENT_MIN {
        return None;
    }
    let shift = exponent + FRACTION as i64;
    let mut placed = vec![0; usize::try_from(shift).unwrap_or(0)];
    let cut = usize::try_from(-shift).unwrap_or(0);
    placed.extend(digits.iter().rev().skip(cut).map(|b| b - b'0'));
    Some(Decimal::Finite { negative, digits: placed })
}

fn trimmed(mut digits: Vec<u8>) -> Vec<u8> {
    while digits.last() == Some(&0) {
        digits.pop();
    }
    digits
}

fn compare(x: &[u8], y: &[u8]) -> Ordering {
    x.len().cmp(&y.len()).then_with(|| x.iter().rev().cmp(y.iter().rev()))
}

fn plus(x: &[u8], y: &[u8]) -> Vec<u8> {
    let mut sum = Vec::with_capacity(x.len().max(y.len()) + 1);
    let mut carry = 0;
    for at in 0..x.len().max(y.len()) {
        let digit = x.get(at).unwrap_or(&0) + y.get(at).unwrap_or(&0) + carry;
        sum.push(digit % 10);
        carry = digit / 10;
    }
    sum.push(carry);
    trimmed(sum)
}

/// `x` - `y`, which is not above `x`.
fn minus(x: &[u8], y: &[u8]) -> Vec<u8> {
    let mut difference = Vec::with_capacity(x.len());
    let mut borrow = 0;
    for (at, digit) in x.iter().enumerate() {
        let less = y.get(at).unwrap_or(&0) + borrow;
        borrow = u8::from(*digit < less);
        difference.push(digit + 10 * borrow - less);
    }
    trimmed(difference)
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Finite { negative, digits } = self else { return f.write_str("inf") };
        let mut shown = digits.get(FRACTION - SHOWN..).unwrap_or(&[]).to_vec();
        if digits.get(FRACTION - SHOWN - 1).is_some_and(|d| *d >= 5) {
            shown = plus(&shown, &[1]);
        }
        shown = trimmed(shown);
        if shown.is_empty() {
            return f.write_str("0");
        }
        shown.resize(shown.len().max(SHOWN + 1), 0);
        let text = |digits: &[u8]| digits.iter().rev().map(|d| char::from(b'0' + d)).collect::<String>();
        let sign = if *negative { "-" } else { "" };
        let fraction = text(&shown[..SHOWN]);
        let fraction = fraction.trim_end_matches('0');
        let point = if fraction.is_empty() { "" } else { "." };
        write!(f, "{sign}{}{point}{fraction}", text(&shown[SHOWN..]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sum(a: &str, b: &str) -> Option<String> {
        let parse = |text: &str| Decimal::parse(text.as_bytes());
        parse(a)?.add(&parse(b)?).map(|d| d.to_string())
    }

    #[test]
    fn sums_as_people_write_them() {
        for (a, b, expected) in [
            ("10.50", "0.1", "10.6"),
            ("5.0e3", "2.0e2", "5200"),
            ("0.1", "0.2", "0.3"),
            ("3", "1.1", "4.1"),
            ("1", "-1", "0"),
            ("-1", "0.99", "-0.01"),
            ("1.5", "-2.25", "-0.75"),
            ("0", "-0", "0"),
            (".5", "5.", "5.5"),
            ("1e-17", "0", "0.00000000000000001"),
            ("1e-18", "0", "0"),
            ("5e-18", "0", "0.00000000000000001"),
            ("-1e-20", "0", "0"),
            ("123456789012345678901234567890", "1", "123456789012345678901234567891"),
            ("999.99999999999999999", "0.00000000000000001", "1000"),
        ] {
            assert_eq!(sum(a, b).as_deref(), Some(expected), "{a} + {b}");
        }
    }

    #[test]
    fn what_is_no_number() {
        for text in
            ["", " 1", "1 ", "abc", "nan", "1e", "1e+", "--1", ".", "1.2.3", "1e5000", "1e-5000", "e1"]
        {
            assert_eq!(Decimal::parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(Decimal::parse(b"-inf"), Some(Decimal::Infinite));
        assert_eq!(sum("inf", "1"), None);
        assert_eq!(sum("9e4931", "9e4931"), None);
    }

    proptest! {
        #[test]
        fn integers_add_as_integers(a in any::<i64>(), b in any::<i64>()) {
            let expected = (i128::from(a) + i128::from(b)).to_string();
            prop_assert_eq!(sum(&a.to_string(), &b.to_string()), Some(expected));
        }

        #[test]
        fn hundredths_add_as_integers(a in -1_000_000_i64..1_000_000, b in -1_000_000_i64..1_000_000) {
            let text = |n: i64| format!("{}{}.{:02}", if n < 0 { "-" } else { "" }, n.abs() / 100, n.abs() % 100);
            let expected = text(a + b);
            let expected = expected.trim_end_matches('0').trim_end_matches('.');
            prop_assert_eq!(sum(&text(a), &text(b)), Some(expected.to_owned()));
        }

        #[test]
        fn no_text_panics(text in "[-+0-9.eE]{0,12}", other in any::<Vec<u8>>()) {
            let _ = Decimal::parse(&other);
            if let Some(number) = Decimal::parse(text.as_bytes()) {
                let again = Decimal::parse(number.to_string().as_bytes());
                prop_assert_eq!(again.map(|d| d.to_string()), Some(number.to_string()));
            }
        }
    }
}
