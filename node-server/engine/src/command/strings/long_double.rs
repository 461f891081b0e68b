//! Numbers for INCRBYFLOAT as Redis has them on x86-64: C's `long double` with 64 bits of mantissa, read by `strtold`
//! and shown by `%.17Lf` without zeros at the end. So 123456789.123456789 is shown as
//! 123456789.12345678899873747 and 0.1 + 0.2 as 0.3, whatever processor this runs on.

use super::natural::Natural;
use std::cmp::Ordering;
use std::fmt;

/// Bits of the mantissa.
const PRECISION: i64 = 64;
/// Exponents of the highest bit of a number with full precision. Below them precision is lost, bit by bit.
const EXPONENT_MIN: i64 = -16_382;
const EXPONENT_MAX: i64 = 16_383;
/// Powers of ten beyond which a number is too large or too small in any case.
const MAGNITUDE_MAX: i64 = 4_940;
const MAGNITUDE_MIN: i64 = -4_960;
/// Decimals that are shown.
const SHOWN: u32 = 17;
/// Longest text of a number (Redis: MAX_LONG_DOUBLE_CHARS).
const TEXT_MAX: usize = 5 * 1024;

/// A number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LongDouble {
    /// `mantissa * 2^exponent`, below zero if `negative`.
    Finite { negative: bool, mantissa: u64, exponent: i64 },
    /// Either infinity.
    Infinite,
}

impl LongDouble {
    /// Zero.
    pub(super) const ZERO: Self = Self::Finite { negative: false, mantissa: 0, exponent: 0 };

    /// Reads what `strtold` reads, all of it; `None` when that is no number, or too large or too small for one.
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
        match text {
            [b'0', b'x' | b'X', digits @ ..] => hexadecimal(negative, digits),
            _ => decimal(negative, text),
        }
    }

    /// The sum; `None` when it is infinite.
    pub(super) fn add(&self, other: &Self) -> Option<Self> {
        let (
            &Self::Finite { negative, mantissa, exponent },
            &Self::Finite { negative: other_negative, mantissa: other_mantissa, exponent: other_exponent },
        ) = (self, other)
        else {
            return None;
        };
        let scale = exponent.min(other_exponent);
        let scaled = |mantissa: u64, exponent: i64| {
            let mut number = Natural::from(mantissa);
            number.shift_up((exponent - scale) as u32);
            number
        };
        let (mut larger, mut smaller) = (scaled(mantissa, exponent), scaled(other_mantissa, other_exponent));
        let mut sign = negative;
        if larger < smaller {
            std::mem::swap(&mut larger, &mut smaller);
            sign = other_negative;
        }
        if negative == other_negative {
            larger.add(&smaller);
        } else {
            larger.subtract(&smaller);
        }
        if larger.is_zero() {
            return Some(Self::ZERO);
        }
        nearest(sign, larger, Natural::from(1), scale)
    }
}

/// Digits with a point somewhere and what follows them: the digits' number, how many are behind the point, and the
/// exponent behind the letter `mark`.
fn split(text: &[u8], base: u32, mark: u8) -> Option<(Natural, i64, i64)> {
    let end = text.iter().position(|b| b.eq_ignore_ascii_case(&mark));
    let (digits, exponent) = match end {
        Some(at) => (&text[..at], exponent(&text[at + 1..])?),
        None => (text, 0),
    };
    let point = digits.iter().position(|b| *b == b'.');
    let behind = point.map_or(0, |at| digits.len() - at - 1);
    let mut number = Natural::default();
    let mut count = 0;
    for (at, byte) in digits.iter().enumerate() {
        if Some(at) != point {
            number.multiply_add(base, char::from(*byte).to_digit(base)?);
            count += 1;
        }
    }
    (count > 0).then_some((number, behind as i64, exponent))
}

/// One that does not fit is as good as any that is far out of range.
fn exponent(text: &[u8]) -> Option<i64> {
    const FAR: i64 = 1_000_000;
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    if digits.is_empty() {
        return None;
    }
    let mut number = 0;
    for byte in digits {
        number = (number * 10 + i64::from(char::from(*byte).to_digit(10)?)).min(FAR);
    }
    Some(if negative { -number } else { number })
}

fn hexadecimal(negative: bool, text: &[u8]) -> Option<LongDouble> {
    let (number, behind, exponent) = split(text, 16, b'p')?;
    if number.is_zero() {
        return Some(LongDouble::ZERO);
    }
    nearest(negative, number, Natural::from(1), exponent - 4 * behind)
}

fn decimal(negative: bool, text: &[u8]) -> Option<LongDouble> {
    let (mut number, behind, exponent) = split(text, 10, b'e')?;
    if number.is_zero() {
        return Some(LongDouble::ZERO);
    }
    let exponent = exponent - behind;
    // log10(2) is a bit more than 0.3, so this is at most a bit less than the magnitude: bounds that are far enough
    // out decide before anything large is calculated.
    let magnitude = exponent + number.bits() * 30_103 / 100_000;
    if !(MAGNITUDE_MIN..=MAGNITUDE_MAX).contains(&magnitude) {
        return None;
    }
    let mut divisor = Natural::from(1);
    let scaled = if exponent < 0 { &mut divisor } else { &mut number };
    let power = exponent.unsigned_abs();
    (0..power / 9).for_each(|_| scaled.multiply_add(1_000_000_000, 0));
    (0..power % 9).for_each(|_| scaled.multiply_add(10, 0));
    nearest(negative, number, divisor, 0)
}

/// The number nearest to `number / divisor * 2^scale`, the even one of two. `None`: it is infinite, or zero although
/// `number` is not.
fn nearest(negative: bool, mut number: Natural, mut divisor: Natural, scale: i64) -> Option<LongDouble> {
    let mut shift = number.bits() - divisor.bits();
    let raised = if shift < 0 { &mut number } else { &mut divisor };
    raised.shift_up(shift.unsigned_abs() as u32);
    if number < divisor {
        number.shift_up(1);
        shift -= 1;
    }
    // The quotient is now at least 1 and below 2, to be multiplied by 2^top.
    let top = shift + scale;
    let bits = (PRECISION + (top - EXPONENT_MIN).min(0)).max(-1);
    if bits < 0 {
        return None;
    }
    let mut mantissa = 0_u128;
    for _ in 0..bits {
        mantissa <<= 1;
        if number >= divisor {
            number.subtract(&divisor);
            mantissa |= 1;
        }
        number.shift_up(1);
    }
    // What is left is twice the remainder.
    mantissa += match number.cmp(&divisor) {
        Ordering::Less => 0,
        Ordering::Equal => mantissa & 1,
        Ordering::Greater => 1,
    };
    let mut exponent = top - (bits - 1);
    let mantissa = u64::try_from(mantissa).unwrap_or_else(|_| {
        exponent += 1;
        1 << 63
    });
    let highest = exponent + 63 - i64::from(mantissa.leading_zeros());
    (mantissa > 0 && highest <= EXPONENT_MAX).then_some(LongDouble::Finite { negative, mantissa, exponent })
}

impl fmt::Display for LongDouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let &Self::Finite { negative, mantissa, exponent } = self else { return f.write_str("inf") };
        let text = if exponent >= 0 {
            let mut whole = Natural::from(mantissa);
            whole.shift_up(exponent as u32);
            whole.decimal()
        } else {
            let shown = hundreds_of_quadrillionths(mantissa, exponent.unsigned_abs());
            let unit = 10_u128.pow(SHOWN);
            let text = format!("{}.{:017}", shown / unit, shown % unit);
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        };
        // Redis takes the sign from zero alone.
        let sign = if negative && text != "0" { "-" } else { "" };
        write!(f, "{sign}{text}")
    }
}

/// `mantissa / 2^down` in units of 10^-17, rounded to the nearest, the even one of two.
fn hundreds_of_quadrillionths(mantissa: u64, down: u64) -> u128 {
    let exact = u128::from(mantissa) * 10_u128.pow(SHOWN);
    if down >= 127 {
        // Less than 2^121 was shifted down: less than half a unit.
        return 0;
    }
    let (kept, rest, half) = (exact >> down, exact & ((1 << down) - 1), 1_u128 << (down - 1));
    kept + match rest.cmp(&half) {
        Ordering::Less => 0,
        Ordering::Equal => kept & 1,
        Ordering::Greater => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sum(a: &str, b: &str) -> Option<String> {
        let parse = |text: &str| LongDouble::parse(text.as_bytes());
        parse(a)?.add(&parse(b)?).map(|d| d.to_string())
    }

    #[test]
    fn sums_as_redis_shows_them() {
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
            ("-1e-20", "0", "0"),
            ("0x1p3", "0", "8"),
            ("0X.8", "0x1P-1", "1"),
            ("0x10", "-0xf", "1"),
            // Replies of redis-server 7.0.15 on x86-64.
            ("123456789.123456789", "0", "123456789.12345678899873747"),
            ("123456789.123456789", "12345", "123469134.12345678899873747"),
            ("9223372036854775807", "1", "9223372036854775808"),
            ("18446744073709551615", "0", "18446744073709551615"),
            ("18446744073709551617", "0", "18446744073709551616"),
            ("2e-4951", "0", "0"),
        ] {
            assert_eq!(sum(a, b).as_deref(), Some(expected), "{a} + {b}");
        }
        let large = sum("1e400", "0").unwrap();
        assert!(
            large.starts_with("100000000000000000002818806839475865145864534336290520386259106935396855340")
        );
        assert_eq!(large.len(), 401);
        assert!(sum("1e308", "0").unwrap().starts_with("99999999999999999996685879655845645660560099847415"));
        assert_eq!(sum("1.18e4932", "0").map(|text| text.len()), Some(4933));
    }

    #[test]
    fn what_is_no_number() {
        for text in [
            "",
            " 1",
            "1 ",
            "abc",
            "nan",
            "nan(1)",
            "1e",
            "1e+",
            "--1",
            ".",
            "1.2.3",
            "1e5000",
            "1.2e4932",
            "1e-4952",
            "1e-5000",
            "e1",
            "0x",
            "0x.",
            "0x1p",
            "0x1p+",
            "0x1p16384",
            "0x1p-16446",
            "1\0",
            "1e999999999999999999999",
        ] {
            assert_eq!(LongDouble::parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(LongDouble::parse(b"-inf"), Some(LongDouble::Infinite));
        assert_eq!(sum("inf", "1"), None);
        assert_eq!(sum("1e4932", "1e4932"), None);
        for smallest in ["0x1p-16445", "4e-4951", "0x1.8p-16446"] {
            assert_eq!(sum(smallest, "0").as_deref(), Some("0"), "{smallest}");
        }
        assert_eq!(sum("0", "1e-99999999999999999999"), None);
        assert_eq!(sum("0e99999999999999999999", "1").as_deref(), Some("1"));
    }

    proptest! {
        #[test]
        fn integers_add_as_integers(a in any::<i64>(), b in any::<i64>()) {
            // 65 bits are one too many.
            let expected = i128::from(a) + i128::from(b);
            prop_assume!(expected.unsigned_abs() <= u128::from(u64::MAX));
            prop_assert_eq!(sum(&a.to_string(), &b.to_string()), Some(expected.to_string()));
        }

        #[test]
        fn doubles_are_exact(a in any::<f64>().prop_filter("finite", |a| a.is_finite() && a.fract() == 0.0)) {
            prop_assert_eq!(sum(&format!("{a:.0}"), "0"), Some(format!("{:.0}", a + 0.0)));
        }

        #[test]
        fn no_text_panics(text in "[-+0-9.eExXp]{0,12}", other in any::<Vec<u8>>()) {
            let _ = LongDouble::parse(&other);
            if let Some(number) = LongDouble::parse(text.as_bytes()) {
                let _ = number.add(&number).map(|sum| sum.to_string());
            }
        }
    }
}
