"""``python -m tmt_dq``: the command line without its script."""

from tmt_dq.cli import main

if __name__ == "__main__":
    main()
