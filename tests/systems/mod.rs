//! One module a recipe of `docs/recipes`: the recipe as it stands, in front of origins of the test.

mod s01_basic;
