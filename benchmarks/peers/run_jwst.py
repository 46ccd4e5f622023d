"""jwst's DQInitStep, file to file; runs in jwst's own environment.

python run_jwst.py INPUT MASK OUTPUT_DIR
"""

import sys

from jwst.dq_init import DQInitStep

source, mask, folder = sys.argv[1:]
DQInitStep.call(source, override_mask=mask, save_results=True, output_dir=folder)
