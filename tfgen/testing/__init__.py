"""The contract of a family, as checks that pytest runs.

`tfgen.models.base.ImageModel` and `tfgen.models.generative.GenerativeModel` say what a family must
offer. These checks hold it to that. A package runs them on its family with a test file such as

    import pytest
    from tfgen import testing
    from tfgen_ppca.model import PPCA

    @pytest.mark.parametrize("check", testing.checks(PPCA))
    def test_contract(check, tmp_path):
        check(tmp_path)

If the models of `PPCA` are too large to train in a test, pass a function `make` in its place:
`make(seed=…, dtype=…, image_shape=…)` returns a small untrained model. Conditional models get
labels with their images.
"""

from tfgen.testing.contract import CHECKS as CHECKS
from tfgen.testing.contract import IMAGES as IMAGES
from tfgen.testing.contract import Make as Make
from tfgen.testing.contract import checks as checks
from tfgen.testing.contract import images_of as images_of
