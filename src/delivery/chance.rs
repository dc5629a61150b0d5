//! Randomness from one seed (SplitMix64); the same seed gives the same choices.

/// A small generator; never seeded from outside the constructor.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// A generator for `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0)
    }

    /// A number below `bound`; 0 for a bound of 0.
    pub fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.bits()) * bound as u128) >> 64) as usize
    }

    /// A number in [0, 1).
    pub fn unit(&mut self) -> f64 {
        to_unit(self.bits())
    }
}

/// Spreads the bits of `x` evenly (the finaliser of SplitMix64).
#[must_use]
pub fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// The upper 53 bits of `bits` as a number in [0, 1).
#[must_use]
pub fn to_unit(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_numbers_and_bounds_hold() {
        let (mut a, mut b) = (Chance::new(7), Chance::new(7));
        for bound in 0..200 {
            let drawn = a.below(bound);
            assert_eq!(drawn, b.below(bound));
            assert!(drawn < bound.max(1));
            let unit = a.unit();
            assert_eq!(unit.to_bits(), b.unit().to_bits());
            assert!((0.0..1.0).contains(&unit));
        }
    }
}
