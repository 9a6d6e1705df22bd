//! Numbers from a seed, the same on each machine (splitmix64).

/// A die for one step: what a step does depends on the seed and its number alone, whatever happened before.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// For this step of the run with this seed.
    #[must_use]
    pub fn of(seed: u64, step: u64) -> Self {
        let mut dice = Self(seed ^ step.wrapping_mul(0xd134_2543_de82_ef95));
        dice.next();
        dice
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Less than `limit`, which isn't 0.
    pub fn below(&mut self, limit: usize) -> usize {
        let limit = limit.max(1) as u64;
        usize::try_from(self.next() % limit).unwrap_or(0)
    }

    /// One of these, which aren't empty.
    pub fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    /// One of these by weight.
    pub fn weighted<T: Copy>(&mut self, of: &[(T, u32)]) -> T {
        let total: u32 = of.iter().map(|(_, weight)| weight).sum();
        let mut left = self.below(total as usize);
        for (each, weight) in of {
            match left.checked_sub(*weight as usize) {
                Some(rest) => left = rest,
                None => return *each,
            }
        }
        of[0].0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_depends_on_seed_and_number_alone() {
        let throw = |seed, step| {
            let mut dice = Dice::of(seed, step);
            [dice.below(1000), dice.below(1000), dice.below(1000)]
        };
        assert_eq!(throw(7, 40), throw(7, 40));
        assert_ne!(throw(7, 40), throw(7, 41));
        assert_ne!(throw(7, 40), throw(8, 40));
    }

    #[test]
    fn weights_count() {
        let mut dice = Dice::of(1, 1);
        let often = (0..1000)
            .filter(|_| dice.weighted(&[(true, 9), (false, 1)]))
            .count();
        assert!((850..950).contains(&often), "{often}");
    }
}
