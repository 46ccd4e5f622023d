"""Renders the example: runs its script as a notebook and keeps what it showed.

The notebook runs in a folder of its own with relative paths, so that nothing of the machine gets
into it. Warnings and logs (stderr) would change from machine to machine and are left out.
"""

import argparse
import tempfile
from pathlib import Path

import jupytext
import nbclient
import nbformat

HERE = Path(__file__).resolve().parent
SCRIPT = HERE / "initialize_bad_pixel_mask.py"


def render(script: Path, target: Path, folder: Path) -> None:
    """Run a script in percent format as a notebook in a folder, and write the notebook."""
    notebook = jupytext.read(script)
    nbclient.NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    ).execute()
    for number, cell in enumerate(notebook.cells):
        # Identifiers and times of execution would make every rendering another file.
        cell["id"] = f"cell-{number}"
        cell.metadata = nbformat.NotebookNode()
        if cell.cell_type == "code":
            cell.outputs = [
                output
                for output in cell.outputs
                if not (output.output_type == "stream" and output.name == "stderr")
            ]
    kernel = notebook.metadata["kernelspec"]
    notebook.metadata = nbformat.NotebookNode(
        kernelspec=kernel, language_info=nbformat.NotebookNode(name="python")
    )
    nbformat.validate(notebook)
    nbformat.write(notebook, target)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=SCRIPT.with_suffix(".ipynb"))
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tmt-dq-notebook-") as scratch:
        render(SCRIPT, wanted.output, Path(scratch))
    print(wanted.output)
