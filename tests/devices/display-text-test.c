/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The text screen in a terminal: a child has a pseudo-terminal and shows on it what its guest
 * writes to the card; the parent is the person who reads and types.  The child answers each key on
 * the screen, when the right scan codes have come.
 */
#define _GNU_SOURCE
#include "../patience.h"
#include "vga-screen.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

/* ---- In the child: what fails ends it with a line number ---- */

#define CHECK(condition)                                                                           \
  do                                                                                               \
    if (!(condition))                                                                              \
      {                                                                                            \
        fprintf (stderr, "line %d: %s\n", __LINE__, #condition);                                   \
        _exit (1);                                                                                 \
      }                                                                                            \
  while (0)

static void
print (TnHarness *h, unsigned row, const char *text)
{
  for (unsigned i = 0; text[i]; i++)
    tn_harness_write (h, 0xb8000 + 160 * row + 2 * i, (uint8_t) text[i] | 0x0700, 2);
}

static size_t
take_scan_code (TnHarness *h, GString *codes)
{
  tn_harness_run (h, 1);
  tn_harness_clock_step (h, 500 * TN_NS_PER_US);
  if (tn_harness_in8 (h, 0x64) & 1)
    g_string_append_printf (codes, "%s%02x", codes->len ? " " : "", tn_harness_in8 (h, 0x60));
  return codes->len;
}

/* Waits for these codes, and says so in a row of the screen. */
static void
expect_codes (TnHarness *h, const char *expected, unsigned row, const char *answer)
{
  g_autoptr (GString) codes = g_string_new (NULL);

  WAIT_FOR (take_scan_code (h, codes) >= strlen (expected));
  for (unsigned i = 0; i < 100; i++)
    take_scan_code (h, codes);
  if (strcmp (codes->str, expected) != 0)
    fprintf (stderr, "expected %s, found %s\n", expected, codes->str);
  CHECK (strcmp (codes->str, expected) == 0);
  if (answer != NULL)
    print (h, row, answer);
}

static bool
switched_off (TnHarness *h)
{
  tn_harness_run (h, 1);
  return tn_harness_take_poweroff (h);
}

static void
child (void)
{
  struct termios before, after;
  TnHarness *h = tn_harness_new (8 << 20);

  CHECK (!tcgetattr (0, &before));
  tn_harness_add (h, "bridge", "i440bx", NULL);
  tn_harness_add (h, "kbc", "kbc", NULL);
  tn_harness_add (h, "vga", "vga", "bios", "false", NULL);
  tn_harness_add (h, "text", "display-text", NULL);
  tn_harness_start (h);
  tn_harness_out8 (h, 0x64, 0x60); /* keyboard on, codes translated */
  tn_harness_out8 (h, 0x60, 0x40);
  tn_harness_out8 (h, 0x60, 0xf4);
  expect_codes (h, "fa", 0, NULL);
  screen_mode (h, &screen_text80);
  for (unsigned row = 0; row < 25; row++)
    print (h, row,
           "                                                                                ");
  print (h, 0, "Hello, terminal");
  expect_codes (h, "1e 9e", 2, "plain-key");
  expect_codes (h, "e0 48 e0 c8", 3, "named-key");
  expect_codes (h, "1c 9c", 4, "enter-key");
  expect_codes (h, "1d 2e ae 9d", 5, "control-key");
  expect_codes (h, "1d 1e 9e 9d", 6, "prefix-key");
  expect_codes (h, "1d 38 e0 53 e0 d3 b8 9d", 7, "three-keys");
  expect_codes (h, "30 b0", 0, NULL);
  CHECK (tn_harness_swap (h, "text", NULL, NULL)); /* draws all of it again */
  expect_codes (h, "2e ae", 0, NULL);
  screen_mode (h, &screen_256);
  WAIT_FOR (switched_off (h));
  tn_harness_free (h);
  CHECK (!tcgetattr (0, &after));
  CHECK (after.c_lflag == before.c_lflag && after.c_iflag == before.c_iflag
         && after.c_oflag == before.c_oflag);
}

/* ---- In the parent ---- */

static void
wait_for (int fd, const char *text)
{
  g_autoptr (GString) got = g_string_new (NULL);

  while (memmem (got->str, got->len, text, strlen (text)) == NULL)
    {
      struct pollfd p = { .fd = fd, .events = POLLIN };
      char bytes[1000];
      ssize_t n;

      g_assert_cmpint (poll (&p, 1, PATIENCE_S * 1000), ==, 1);
      n = read (fd, bytes, sizeof bytes);
      g_assert_cmpint (n, >, 0);
      g_string_append_len (got, bytes, n);
    }
}

static void
type (int fd, const char *text)
{
  g_assert_cmpint (write (fd, text, strlen (text)), ==, strlen (text));
}

static pid_t
spawn (int fd)
{
  pid_t pid = fork ();

  g_assert_cmpint (pid, >=, 0);
  if (pid)
    return pid;
  alarm (2 * PATIENCE_S);
  setsid ();
  fd = open (ptsname (fd), O_RDWR);
  dup2 (fd, 0);
  dup2 (fd, 1);
  setenv ("TERM", "vt100", 1);
  unsetenv ("LINES");
  unsetenv ("COLUMNS");
  child ();
  _exit (0);
}

static void
test_terminal (void)
{
  struct winsize size = { .ws_row = 25, .ws_col = 80 };
  int fd = posix_openpt (O_RDWR | O_NOCTTY), status;
  pid_t pid;

  if (fd < 0 || grantpt (fd) || unlockpt (fd) || ioctl (fd, TIOCSWINSZ, &size))
    {
      g_test_skip ("no pseudo-terminals here");
      return;
    }
  pid = spawn (fd);
  wait_for (fd, "Hello, terminal");
  type (fd, "a");
  wait_for (fd, "plain-key");
  type (fd, "\033OA"); /* up */
  wait_for (fd, "named-key");
  type (fd, "\r");
  wait_for (fd, "enter-key");
  type (fd, "\003");
  wait_for (fd, "control-key");
  type (fd, "\001a");
  wait_for (fd, "prefix-key");
  type (fd, "\001d");
  wait_for (fd, "three-keys");
  type (fd, "b");
  wait_for (fd, "Hello, terminal");
  type (fd, "c");
  wait_for (fd, "[graphics, 320 by 200]");
  type (fd, "\001x");
  g_assert_cmpint (waitpid (pid, &status, 0), ==, pid);
  g_assert_cmpint (status, ==, 0);
  close (fd);
}

/* Without a terminal there is nothing to show it on. */
static void
test_refused (void)
{
  g_autoptr (GError) error = NULL;
  TnHarness *h;
  int null = open ("/dev/null", O_RDWR), in = dup (0);

  dup2 (null, 0);
  h = tn_harness_new (1 << 20);
  tn_harness_add (h, "text", "display-text", NULL);
  g_assert_false (tn_harness_try_start (h, &error));
  g_assert_nonnull (strstr (error->message, "not a terminal"));
  tn_harness_free (h);
  dup2 (in, 0);
  close (in);
  close (null);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/display-text/terminal", test_terminal);
  g_test_add_func ("/display-text/refused", test_refused);
  return g_test_run ();
}
