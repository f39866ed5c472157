/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Skipped until it is written. */
int
main (void)
{
  return 77;
}
