//! Medians, quantiles and ratios.

/// The middle value, or the mean of the two in the middle; `None` when there is none.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = sorted[(sorted.len() - 1) / 2];
    Some(f64::midpoint(lower, upper))
}

/// Median, least and most.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Spread {
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        let least = values.iter().copied().reduce(f64::min)?;
        let most = values.iter().copied().reduce(f64::max)?;
        Some(Self { median: median(values)?, least, most })
    }
}

/// The median of the rounds' ratios: what disturbs the machine in one round disturbs both.
pub(crate) fn ratio(ours: &[f64], theirs: &[f64]) -> Option<f64> {
    let ratios: Vec<f64> = ours.iter().zip(theirs).filter(|(_, b)| **b != 0.0).map(|(a, b)| a / b).collect();
    median(&ratios)
}

/// The value that the given part of the values does not exceed (nearest rank). Sorts them; 0 when there is none.
pub(crate) fn quantile(values: &mut [u32], part: f64) -> u32 {
    values.sort_unstable();
    let rank = (values.len() as f64 * part).ceil() as usize;
    values.get(rank.max(1) - 1).or(values.last()).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 9.0, 2.0]), Some(3.0));
        assert_eq!(Spread::of(&[4.0, 1.0, 9.0]), Some(Spread { median: 4.0, least: 1.0, most: 9.0 }));
        assert_eq!(Spread::of(&[]), None);
    }

    #[test]
    fn a_ratio_is_that_of_the_rounds() {
        // The second round was disturbed; the medians' ratio would be 1.
        assert_eq!(ratio(&[1.0, 20.0, 2.0], &[2.0, 40.0, 2.0]), Some(0.5));
        assert_eq!(ratio(&[1.0], &[]), None);
        assert_eq!(ratio(&[1.0], &[0.0]), None);
    }

    #[test]
    fn quantiles() {
        let mut thousand: Vec<u32> = (1..=1000).rev().collect();
        assert_eq!(quantile(&mut thousand, 0.5), 500);
        assert_eq!(quantile(&mut thousand, 0.999), 999);
        assert_eq!(quantile(&mut thousand, 1.0), 1000);
        assert_eq!(quantile(&mut thousand, 0.0), 1);
        assert_eq!(quantile(&mut [7], 0.999), 7);
        assert_eq!(quantile(&mut [], 0.5), 0);
    }
}
