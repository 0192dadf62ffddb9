"""The portable_*.py files are plain asserts over the portable packages, so that a VM can run their very text. On the
host each is collected by the test file of its subject, with pytest's explanation of a failed assert.
"""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
pytest.register_assert_rewrite(*(path.stem for path in Path(__file__).parent.glob("portable_*.py")))
