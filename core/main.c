/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The tenon program; everything is in libtenon. */
#include "machine.h"

int
main (int argc, char **argv)
{
  return tn_main (argc, argv);
}
