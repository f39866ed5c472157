/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A serial port on sockets: listening, connecting, a second peer, swap, refused addresses. */
#include "serial.h"

#include <arpa/inet.h>
#include <glib/gstdio.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

typedef struct {
  char *dir, *name;
} Place;

static void
place_new (Place *p)
{
  p->dir = g_dir_make_tmp ("char-socket-XXXXXX", NULL);
  p->name = g_build_filename (p->dir, "sock", NULL);
}

static void
place_free (Place *p)
{
  g_assert_cmpint (access (p->name, F_OK), ==, -1);
  rmdir (p->dir);
  g_free (p->dir);
  g_free (p->name);
}

static int
local_socket (const Place *p, bool listening)
{
  struct sockaddr_un address = { .sun_family = AF_UNIX };
  int fd = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  g_strlcpy (address.sun_path, p->name, sizeof address.sun_path);
  if (listening)
    {
      g_assert_cmpint (bind (fd, (struct sockaddr *) &address, sizeof address), ==, 0);
      g_assert_cmpint (listen (fd, 4), ==, 0);
    }
  else
    g_assert_cmpint (connect (fd, (struct sockaddr *) &address, sizeof address), ==, 0);
  return fd;
}

static TnHarness *
new_machine (const char *name, const char *value, const char *name2, const char *value2)
{
  TnHarness *h = tn_harness_new (1 << 20);
  tn_harness_add (h, "back", "char-socket", name, value, name2, value2, NULL);
  serial_start (h);
  return h;
}

static void
check_peer_reads (int fd, const char *expected)
{
  char got[4096];
  size_t have = 0;
  ssize_t n;
  WAIT_FOR ((n = recv (fd, got + have, sizeof got - have, MSG_DONTWAIT), have += MAX (n, 0))
            >= strlen (expected));
  g_assert_cmpmem (got, have, expected, strlen (expected));
}

/* Over TCP the kernel needs its time even on one host. */
static void
check_carrier (TnHarness *h, bool expected)
{
  WAIT_FOR ((tn_harness_settle (h), serial_carrier (h) == expected));
  g_assert_true (serial_carrier (h) == expected);
}

static void
check_conversation (TnHarness *h, int fd)
{
  char got[100];
  check_carrier (h, true);
  serial_send (h, "out", 3);
  check_peer_reads (fd, "out");
  g_assert_cmpint (send (fd, "in", 2, 0), ==, 2);
  g_assert_cmpuint (serial_expect (h, got, 2), ==, 2);
  g_assert_cmpuint (serial_receive (h, got + 2, sizeof got - 2), ==, 0);
  g_assert_cmpmem (got, 2, "in", 2);
}

static void
test_listen (void)
{
  Place p;
  TnHarness *h;
  int fd, second;
  char byte;
  place_new (&p);
  h = new_machine ("path", p.name, NULL, NULL);
  g_assert_false (serial_carrier (h));
  serial_send (h, "lost", 4);
  fd = local_socket (&p, false);
  tn_harness_settle (h);
  check_conversation (h, fd);
  second = local_socket (&p, false);
  tn_harness_settle (h);
  g_assert_cmpint (recv (second, &byte, 1, 0), ==, 0);
  close (second);
  roundtrip (h, "back");
  roundtrip (h, "com1");
  check_conversation (h, fd);
  close (fd);
  check_carrier (h, false);
  fd = local_socket (&p, false);
  tn_harness_settle (h);
  check_conversation (h, fd);
  close (fd);
  tn_harness_free (h);
  place_free (&p);
}

static void
test_connect (void)
{
  Place p;
  TnHarness *h;
  int listener, fd;
  place_new (&p);
  h = new_machine ("path", p.name, "connect", "true");
  tn_harness_clock_step (h, 3 * TN_NS_PER_S);
  g_assert_false (serial_carrier (h));
  listener = local_socket (&p, true);
  tn_harness_clock_step (h, 2 * TN_NS_PER_S);
  tn_harness_settle (h);
  fd = accept (listener, NULL, NULL);
  check_conversation (h, fd);
  roundtrip (h, "back");
  check_conversation (h, fd);
  close (fd);
  check_carrier (h, false);
  tn_harness_clock_step (h, 2 * TN_NS_PER_S);
  tn_harness_settle (h);
  fd = accept (listener, NULL, NULL);
  check_conversation (h, fd);
  close (fd);
  close (listener);
  tn_harness_free (h);
  unlink (p.name);
  place_free (&p);
}

static void
test_tcp (void)
{
  struct sockaddr_in address = { .sin_family = AF_INET };
  socklen_t size = sizeof address;
  int listener = socket (AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), fd;
  g_autofree char *port = NULL;
  TnHarness *h;
  address.sin_addr.s_addr = htonl (INADDR_LOOPBACK);
  if (listener < 0 || bind (listener, (struct sockaddr *) &address, sizeof address)
      || listen (listener, 1))
    {
      g_test_skip ("no TCP here");
      return;
    }
  g_assert_cmpint (getsockname (listener, (struct sockaddr *) &address, &size), ==, 0);
  port = g_strdup_printf ("%u", ntohs (address.sin_port));
  h = new_machine ("port", port, "connect", "true");
  fd = accept (listener, NULL, NULL);
  tn_harness_settle (h);
  check_conversation (h, fd);
  close (fd);
  close (listener);
  tn_harness_free (h);
}

/* A flood from a peer waits outside; a peer that reads nothing holds the port up. */
static void
test_rude_peer (void)
{
  Place p;
  TnHarness *h;
  g_autofree char *flood = g_malloc (100000), *got = g_malloc (100000);
  unsigned sent = 0, n;
  int fd;
  place_new (&p);
  h = new_machine ("path", p.name, NULL, NULL);
  fd = local_socket (&p, false);
  for (unsigned i = 0; i < 100000; i++)
    flood[i] = i * 7 >> 2;
  n = send (fd, flood, 100000, MSG_DONTWAIT);
  g_assert_cmpuint (n, >=, 10000);
  tn_harness_settle (h);
  g_assert_cmpuint (serial_receive (h, got, 10000), ==, 10000);
  g_assert_cmpmem (got, 10000, flood, 10000);
  for (unsigned size = 0; size < 100000; size += 100000 / 4)
    sent += serial_send (h, flood, 100000 / 4);
  close (fd); /* with data unread on both sides */
  tn_harness_settle (h);
  while (serial_receive (h, got, 100000) > 0)
    tn_harness_settle (h);
  check_carrier (h, false);
  g_assert_cmpuint (serial_send (h, "still here", 10), ==, 10);
  tn_harness_free (h);
  place_free (&p);
}

static void
check_refused (const char *name, const char *value, const char *name2, const char *value2,
               const char *message)
{
  g_autoptr (GError) error = NULL;
  TnHarness *h = tn_harness_new (1 << 20);
  tn_harness_add (h, "back", "char-socket", name, value, name2, value2, NULL);
  g_assert_false (tn_harness_try_start (h, &error));
  g_test_message ("%s", error->message);
  g_assert_nonnull (strstr (error->message, message));
  tn_harness_free (h);
}

static void
test_refused (void)
{
  Place p;
  TnHarness *h;
  int stale;
  check_refused ("port", "5555", "host", "192.0.2.1", "loopback");
  check_refused ("connect", "true", NULL, NULL, "either path or port");
  check_refused ("path", "/nonexistent/socket", NULL, NULL, "cannot listen");
  place_new (&p);
  h = new_machine ("path", p.name, NULL, NULL);
  check_refused ("path", p.name, NULL, NULL, "cannot listen");
  tn_harness_free (h);
  stale = local_socket (&p, true);
  close (stale);
  h = new_machine ("path", p.name, NULL, NULL); /* replaces what nobody listens on */
  tn_harness_free (h);
  place_free (&p);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/char-socket/listen", test_listen);
  g_test_add_func ("/char-socket/connect", test_connect);
  g_test_add_func ("/char-socket/tcp", test_tcp);
  g_test_add_func ("/char-socket/rude-peer", test_rude_peer);
  g_test_add_func ("/char-socket/refused", test_refused);
  return g_test_run ();
}
