/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The standard input and output, in a child whose descriptors are a pseudo-terminal or pipes: raw
 * mode and its end, the escape key, swap, closed descriptors.
 */
#define _GNU_SOURCE
#include "serial.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
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

static TnHarness *
new_machine (void)
{
  TnHarness *h = tn_harness_new (1 << 20);
  tn_harness_add (h, "back", "char-stdio", NULL);
  serial_start (h);
  return h;
}

static bool
terminal_is_raw (void)
{
  struct termios mode;
  CHECK (!tcgetattr (0, &mode));
  return !(mode.c_lflag & (ICANON | ECHO | ISIG));
}

/* Takes the wanted number of characters, however long the other side needs. */
static void
expect (TnHarness *h, const char *text)
{
  char got[1000];
  unsigned n, size = strlen (text);
  n = serial_expect (h, got, size);
  got[n] = 0;
  if (n != size || memcmp (got, text, size))
    fprintf (stderr, "expected '%s', found '%s'\n", text, got);
  CHECK (n == size && !memcmp (got, text, size));
}

static void
child_terminal (void)
{
  TnHarness *h;
  bool off;
  CHECK (!terminal_is_raw ());
  h = new_machine ();
  CHECK (terminal_is_raw ());
  serial_send (h, "ready", 5);
  expect (h, "a\x03\x1a\x01z");
  for (unsigned i = 0; i < 5; i++)
    {
      CHECK (tn_harness_swap (h, "back", NULL, NULL));
      CHECK (terminal_is_raw ());
    }
  serial_send (h, "again", 5);
  expect (h, "b");
  WAIT_FOR ((tn_harness_settle (h), off = tn_harness_take_poweroff (h)));
  CHECK (off);
  tn_harness_free (h);
  CHECK (!terminal_is_raw ());
}

/* After a stop from outside somebody else has set the modes. */
static void
child_continued (void)
{
  struct termios mode;
  TnHarness *h;
  CHECK (!tcgetattr (0, &mode));
  h = new_machine ();
  CHECK (terminal_is_raw ());
  CHECK (!tcsetattr (0, TCSANOW, &mode));
  tn_harness_clock_step (h, TN_NS_PER_S);
  CHECK (terminal_is_raw ());
  tn_harness_free (h);
  CHECK (!terminal_is_raw ());
}

static void
child_pipe (void)
{
  TnHarness *h = new_machine ();
  expect (h, "x\x01h");
  CHECK (serial_send (h, "done", 4) == 4);
  tn_harness_settle (h);
  CHECK (!tn_harness_take_poweroff (h));
  tn_harness_free (h);
}

static void
child_closed (void)
{
  TnHarness *h;
  close (0);
  close (1);
  h = new_machine ();
  CHECK (serial_send (h, "into nothing", 12) == 12);
  CHECK (tn_harness_swap (h, "back", NULL, NULL));
  tn_harness_free (h);
}

/* ---- In the parent ---- */

static pid_t
spawn (int in, int out, bool terminal, void (*child) (void))
{
  pid_t pid = fork ();
  g_assert_cmpint (pid, >=, 0);
  if (pid)
    return pid;
  alarm (2 * PATIENCE_S);
  if (terminal)
    setsid ();
  if (terminal)
    in = out = open (ptsname (in), O_RDWR);
  dup2 (in, 0);
  dup2 (out, 1);
  child ();
  _exit (0);
}

static void
check_exit (pid_t pid)
{
  int status;
  g_assert_cmpint (waitpid (pid, &status, 0), ==, pid);
  g_assert_cmpint (status, ==, 0);
}

static void
wait_for (int fd, const char *text)
{
  g_autoptr (GString) got = g_string_new (NULL);
  while (!strstr (got->str, text))
    {
      struct pollfd p = { .fd = fd, .events = POLLIN };
      char bytes[100];
      ssize_t n;
      g_assert_cmpint (poll (&p, 1, PATIENCE_S * 1000), ==, 1);
      n = read (fd, bytes, sizeof bytes);
      g_assert_cmpint (n, >, 0);
      g_string_append_len (got, bytes, n);
    }
}

static int
new_terminal (void)
{
  int fd = posix_openpt (O_RDWR | O_NOCTTY);
  if (fd >= 0 && !grantpt (fd) && !unlockpt (fd))
    return fd;
  g_test_skip ("no pseudo-terminals here");
  return -1;
}

static void
put (int fd, const char *text)
{
  g_assert_cmpint (write (fd, text, strlen (text)), ==, strlen (text));
}

static void
test_terminal (void)
{
  int fd = new_terminal ();
  pid_t pid;
  if (fd < 0)
    return;
  pid = spawn (fd, -1, true, child_terminal);
  wait_for (fd, "ready");
  put (fd, "a\x03\x1a\x01\x01z"); /* Ctrl-C, Ctrl-Z and a doubled Ctrl-A go to the guest */
  wait_for (fd, "again");
  put (fd, "\x01h");
  wait_for (fd, "this help");
  put (fd, "b\x01x");
  check_exit (pid);
  close (fd);
}

static void
test_continued (void)
{
  int fd = new_terminal ();
  if (fd < 0)
    return;
  check_exit (spawn (fd, -1, true, child_continued));
  close (fd);
}

static void
test_pipe (void)
{
  int in[2], out[2];
  pid_t pid;
  g_assert_cmpint (pipe (in) + pipe (out), ==, 0);
  pid = spawn (in[0], out[1], false, child_pipe);
  close (in[0]);
  put (in[1], "x\x01h"); /* no escape key without a terminal */
  close (in[1]);
  wait_for (out[0], "done");
  check_exit (pid);
  close (out[0]);
  close (out[1]);
}

static void
test_closed (void)
{
  check_exit (spawn (0, 1, false, child_closed));
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/char-stdio/terminal", test_terminal);
  g_test_add_func ("/char-stdio/continued", test_continued);
  g_test_add_func ("/char-stdio/pipe", test_pipe);
  g_test_add_func ("/char-stdio/closed", test_closed);
  return g_test_run ();
}
