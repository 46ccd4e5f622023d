"""tmt-dq's DQInitStep, file to file: python run_step.py INPUT OUTPUT_DIR."""

import sys

from tmt_dq import DQInitStep

source, folder = sys.argv[1:]
DQInitStep.call(source, save_results=True, output_dir=folder)
