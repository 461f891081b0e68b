//! Natural numbers of any size, with the few operations that exact conversion of floating point numbers needs.

use std::cmp::Ordering;

/// Words of 32 bits, the least significant first; the last is not zero.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Natural(Vec<u32>);

impl Natural {
    pub(super) fn is_zero(&self) -> bool {
        self.0.is_empty()
    }

    /// Position of the highest bit, counted from 1; 0 for zero.
    pub(super) fn bits(&self) -> i64 {
        match self.0.last() {
            Some(word) => self.0.len() as i64 * 32 - i64::from(word.leading_zeros()),
            None => 0,
        }
    }

    /// Becomes `self * factor + more`.
    pub(super) fn multiply_add(&mut self, factor: u32, more: u32) {
        let mut carry = u64::from(more);
        for word in &mut self.0 {
            carry += u64::from(*word) * u64::from(factor);
            *word = carry as u32;
            carry >>= 32;
        }
        if carry > 0 {
            self.0.push(carry as u32);
        }
        self.trim();
    }

    /// Becomes `self * 2^by`.
    pub(super) fn shift_up(&mut self, by: u32) {
        let (words, bits) = ((by / 32) as usize, by % 32);
        if bits > 0 {
            self.multiply_add(1 << bits, 0);
        }
        if !self.is_zero() {
            self.0.splice(0..0, std::iter::repeat_n(0, words));
        }
    }

    /// Becomes `self + other`.
    pub(super) fn add(&mut self, other: &Self) {
        self.0.resize(self.0.len().max(other.0.len()), 0);
        let mut carry = 0;
        for (at, word) in self.0.iter_mut().enumerate() {
            carry += u64::from(*word) + u64::from(other.0.get(at).copied().unwrap_or(0));
            *word = carry as u32;
            carry >>= 32;
        }
        if carry > 0 {
            self.0.push(carry as u32);
        }
    }

    /// Becomes `self - other`, which must not be above `self`.
    pub(super) fn subtract(&mut self, other: &Self) {
        let mut borrow = false;
        for (at, word) in self.0.iter_mut().enumerate() {
            let (less, under) = word.overflowing_sub(other.0.get(at).copied().unwrap_or(0));
            let (less, under_again) = less.overflowing_sub(u32::from(borrow));
            *word = less;
            borrow = under || under_again;
        }
        self.trim();
    }

    /// Becomes `self / by`; returns the remainder.
    fn divide(&mut self, by: u32) -> u32 {
        let mut rest = 0;
        for word in self.0.iter_mut().rev() {
            let part = rest << 32 | u64::from(*word);
            *word = (part / u64::from(by)) as u32;
            rest = part % u64::from(by);
        }
        self.trim();
        rest as u32
    }

    /// In decimal digits.
    pub(super) fn decimal(mut self) -> String {
        const GROUP: u32 = 1_000_000_000;
        let mut groups = Vec::new();
        while !self.is_zero() {
            groups.push(self.divide(GROUP));
        }
        let mut text = groups.pop().unwrap_or(0).to_string();
        groups.iter().rev().for_each(|group| text.push_str(&format!("{group:09}")));
        text
    }

    fn trim(&mut self) {
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
    }
}

impl From<u64> for Natural {
    fn from(number: u64) -> Self {
        let mut natural = Self(vec![number as u32, (number >> 32) as u32]);
        natural.trim();
        natural
    }
}

impl Ord for Natural {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.len().cmp(&other.0.len()).then_with(|| self.0.iter().rev().cmp(other.0.iter().rev()))
    }
}

impl PartialOrd for Natural {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(number: u128) -> Natural {
        let mut high = Natural::from((number >> 64) as u64);
        high.shift_up(64);
        high.add(&Natural::from(number as u64));
        high
    }

    proptest! {
        #[test]
        fn calculates_as_machine_words_do(a in any::<u64>(), b in any::<u64>(), by in 0_u32..64, m in any::<u32>()) {
            let (wide, other) = (u128::from(a), u128::from(b));
            let check = |n: Natural, expected: u128| assert_eq!((n.clone().decimal(), n), (expected.to_string(), of(expected)));
            let mut n = of(wide);
            n.shift_up(by);
            check(n.clone(), wide << by);
            prop_assert_eq!(n.bits(), i64::from(128 - (wide << by).leading_zeros()));
            n.add(&of(other));
            check(n.clone(), (wide << by) + other);
            n.subtract(&of(other));
            check(n, wide << by);
            let mut n = of(wide);
            n.multiply_add(m, m);
            check(n, wide * u128::from(m) + u128::from(m));
            prop_assert_eq!(of(wide).cmp(&of(other)), a.cmp(&b));
        }
    }
}
