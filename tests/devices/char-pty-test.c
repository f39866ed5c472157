/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A serial port on a pseudo-terminal: carrier, bytes both ways, hang-up, swap, symbolic link. */
#define _GNU_SOURCE
#include "serial.h"

#include <fcntl.h>
#include <unistd.h>

typedef struct {
  TnHarness *h;
  char *dir, *link;
} Fixture;

static void
set_up (Fixture *f)
{
  f->dir = g_dir_make_tmp ("char-pty-XXXXXX", NULL);
  f->link = g_build_filename (f->dir, "com1", NULL);
  f->h = tn_harness_new (1 << 20);
  tn_harness_add (f->h, "back", "char-pty", "symlink", f->link, NULL);
  serial_start (f->h);
}

static void
tear_down (Fixture *f)
{
  tn_harness_free (f->h);
  g_assert_cmpint (access (f->link, F_OK), ==, -1);
  rmdir (f->dir);
  g_free (f->dir);
  g_free (f->link);
}

static void
wait_a_second (TnHarness *h)
{
  for (unsigned i = 0; i < 10; i++)
    {
      tn_harness_clock_step (h, TN_NS_PER_S / 10);
      tn_harness_settle (h);
    }
}

static bool
has_carrier (Fixture *f)
{
  wait_a_second (f->h);
  return serial_carrier (f->h);
}

static void
check_carrier (Fixture *f, bool expected)
{
  WAIT_FOR (has_carrier (f) == expected);
  g_assert_true (serial_carrier (f->h) == expected);
}

static int
open_terminal (Fixture *f)
{
  int fd = open (f->link, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
  g_assert_cmpint (fd, >=, 0);
  check_carrier (f, true);
  return fd;
}

/* The kernel moves bytes from one side of a terminal to the other in its own time. */
static void
check_read (int fd, const char *expected)
{
  char got[4096];
  size_t have = 0;
  ssize_t n;
  WAIT_FOR ((n = read (fd, got + have, sizeof got - have), have += MAX (n, 0))
            >= strlen (expected));
  g_assert_cmpmem (got, have, expected, strlen (expected));
}

static void
check_silence (int fd)
{
  char byte;
  g_usleep (20000);
  g_assert_cmpint (read (fd, &byte, 1), ==, -1);
}

static void
test_both_ways (void)
{
  Fixture f;
  char got[100];
  int fd;
  set_up (&f);
  serial_send (f.h, "lost", 4); /* nobody listens */
  g_assert_false (serial_carrier (f.h));
  fd = open_terminal (&f);
  serial_send (f.h, "login: ", 7);
  check_read (fd, "login: ");
  g_assert_cmpint (write (fd, "root\r", 5), ==, 5);
  g_assert_cmpuint (serial_expect (f.h, got, 5), ==, 5);
  g_assert_cmpuint (serial_receive (f.h, got + 5, sizeof got - 5), ==, 0);
  g_assert_cmpmem (got, 5, "root\r", 5);
  check_silence (fd); /* no echo */
  close (fd);
  check_carrier (&f, false);
  fd = open_terminal (&f);
  close (fd);
  tear_down (&f);
}

static void
test_swap (void)
{
  Fixture f;
  char text[2000], got[2000];
  unsigned n = 0;
  int fd;
  set_up (&f);
  fd = open_terminal (&f);
  for (unsigned i = 0; i < sizeof text; i++)
    text[i] = 'a' + i % 26;
  g_assert_cmpint (write (fd, text, sizeof text), ==, sizeof text);
  while (n < sizeof got)
    {
      unsigned size = MIN (300, sizeof got - n);
      g_assert_cmpuint (serial_expect (f.h, got + n, size), ==, size);
      n += size;
      roundtrip (f.h, n / 300 % 2 ? "com1" : "back");
      wait_a_second (f.h);
      g_assert_true (serial_carrier (f.h));
    }
  g_assert_cmpmem (got, n, text, sizeof text);
  serial_send (f.h, "ok", 2);
  check_read (fd, "ok");
  close (fd);
  tear_down (&f);
}

/* Bytes that were written before the terminal was closed still arrive. */
static void
test_write_and_close (void)
{
  Fixture f;
  char text[600], got[600];
  int fd;
  set_up (&f);
  memset (text, 'z', sizeof text);
  fd = open_terminal (&f);
  g_assert_cmpint (write (fd, text, sizeof text), ==, sizeof text);
  close (fd);
  g_assert_cmpuint (serial_expect (f.h, got, sizeof got), ==, sizeof got);
  check_carrier (&f, false);
  tear_down (&f);
}

/* Sends on, and reads once from the other end. */
static unsigned
send_and_read (Fixture *f, int fd, const char *text, unsigned size, unsigned *sent, GString *got)
{
  char bytes[8192];
  ssize_t n;
  *sent += serial_send (f->h, text + *sent, size - *sent);
  n = read (fd, bytes, sizeof bytes);
  if (n > 0)
    g_string_append_len (got, bytes, n);
  wait_a_second (f->h);
  return got->len;
}

/* A terminal that nobody reads holds the port up; then all of it comes. */
static void
test_slow_reader (void)
{
  Fixture f;
  g_autofree char *text = g_malloc (40000);
  g_autoptr (GString) got = g_string_new (NULL);
  unsigned sent = 0;
  int fd;
  set_up (&f);
  fd = open_terminal (&f);
  for (unsigned i = 0; i < 40000; i++)
    text[i] = 'A' + i % 23;
  sent = serial_send (f.h, text, 40000);
  g_assert_cmpuint (sent, <, 40000);
  WAIT_FOR (send_and_read (&f, fd, text, 40000, &sent, got) >= 40000);
  g_assert_cmpmem (got->str, got->len, text, 40000);
  close (fd);
  tear_down (&f);
}

int
main (int argc, char **argv)
{
  int fd = posix_openpt (O_RDWR | O_NOCTTY);
  g_test_init (&argc, &argv, NULL);
  if (fd < 0)
    return 77;
  close (fd);
  g_test_add_func ("/char-pty/both-ways", test_both_ways);
  g_test_add_func ("/char-pty/swap", test_swap);
  g_test_add_func ("/char-pty/write-and-close", test_write_and_close);
  g_test_add_func ("/char-pty/slow-reader", test_slow_reader);
  return g_test_run ();
}
