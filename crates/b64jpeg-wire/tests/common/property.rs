// SPDX-License-Identifier: MPL-2.0

//! Property tests.

use std::hash::{BuildHasher, RandomState};

use proptest::{
    strategy::Strategy,
    test_runner::{Config, RngSeed, TestRunner},
};

/// Checks `property` on `cases` values. A failing value is shrunk and printed; setting
/// `PROPTEST_RNG_SEED` to the printed seed repeats it. `PROPTEST_CASES=2560` checks ten times as
/// many values.
#[track_caller]
pub fn check<S: Strategy>(cases: u32, values: S, property: impl Fn(S::Value)) {
    let mut config = Config::default();
    let seed = match config.rng_seed {
        RngSeed::Fixed(seed) => seed,
        RngSeed::Random => RandomState::new().hash_one(cases),
    };
    println!("PROPTEST_RNG_SEED={seed}");
    config.rng_seed = RngSeed::Fixed(seed);
    config.cases = (cases * config.cases).div_ceil(256);
    config.failure_persistence = None;
    let mut runner = TestRunner::new(config);
    let result = runner.run(&values, |value| {
        property(value);
        Ok(())
    });
    if let Err(failure) = result {
        panic!("{failure}");
    }
}
