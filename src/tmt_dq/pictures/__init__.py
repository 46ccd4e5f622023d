"""Pictures of flags. They need matplotlib: the extra ``tmt-dq[plot]``."""

from tmt_dq.pictures.figures import png_bytes, save_figure
from tmt_dq.pictures.sheets import difference_figure, draw_flags, summary_figure

__all__ = ["difference_figure", "draw_flags", "png_bytes", "save_figure", "summary_figure"]
