"""The script of the Glue job: all that it does is in the package (viplake.aws.glue_main)."""

import sys

from viplake.aws import glue_main

glue_main(sys.argv)
