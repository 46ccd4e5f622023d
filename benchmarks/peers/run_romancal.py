"""romancal's DQInitStep, file to file; runs in romancal's own environment.

python run_romancal.py INPUT MASK OUTPUT_DIR
"""

import sys

from romancal.dq_init import DQInitStep  # type: ignore[import-not-found]

source, mask, folder = sys.argv[1:]
DQInitStep.call(source, override_mask=mask, save_results=True, output_dir=folder)
