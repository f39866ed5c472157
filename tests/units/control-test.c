/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The control socket of a running `tenon run --paused`, first asked politely, then by clients that
 * send nonsense, too much, too little, or never read.  After each the machine must answer as
 * before.
 */
#include "../patience.h"

#include <errno.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static char *folder, *socket_path, *config_path, *program;
static GPid machine;

static int
dial (void)
{
  struct sockaddr_un address = { .sun_family = AF_UNIX };
  struct timeval patience = { .tv_sec = PATIENCE_S };
  int fd = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

  g_strlcpy (address.sun_path, socket_path, sizeof address.sun_path);
  setsockopt (fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  if (connect (fd, (struct sockaddr *) &address, sizeof address) == 0)
    return fd;
  close (fd);
  return -1;
}

/* A test that fails leaves no machine behind. */
static void
die_with_parent (void *data)
{
  prctl (PR_SET_PDEATHSIG, SIGKILL);
}

static void
start_machine (void)
{
  char *argv[] = {
    program, (char *) "run", (char *) "--paused", (char *) "--control", socket_path, config_path,
    NULL
  };
  g_autoptr (GError) error = NULL;
  int fd = -1;

  g_spawn_async (NULL, argv, NULL, G_SPAWN_DO_NOT_REAP_CHILD, die_with_parent, NULL, &machine,
                 &error);
  g_assert_no_error (error);
  WAIT_FOR (waitpid (machine, NULL, WNOHANG) != 0 || (fd = dial ()) >= 0);
  g_assert_cmpint (fd, >=, 0);
  close (fd);
}

/* Reads until the last line of a reply; "" when the machine hangs up. */
static char *
read_reply (int fd)
{
  GString *reply = g_string_new (NULL);
  char c;

  for (size_t start = 0; recv (fd, &c, 1, 0) == 1;)
    {
      g_string_append_c (reply, c);
      if (c != '\n')
        continue;
      if (reply->str[start] != ' ')
        break;
      start = reply->len;
    }
  return g_string_free (reply, FALSE);
}

static char *
ask_bytes (const char *bytes, size_t size)
{
  int fd = dial ();
  char *reply;

  g_assert_cmpint (fd, >=, 0);
  g_assert_cmpint (send (fd, bytes, size, MSG_NOSIGNAL), ==, size);
  reply = read_reply (fd);
  close (fd);
  return reply;
}

static void
expect (const char *request, const char *pattern)
{
  g_autofree char *reply = ask_bytes (request, strlen (request));

  if (!g_pattern_match_simple (pattern, reply))
    g_error ("%s: expected %s, found %s", request, pattern, reply);
}

static void
test_requests (void)
{
  expect ("status\n", " name control-test\n state paused\n*ok\n");
  expect ("resume\n", "ok\n");
  expect ("status\n", "* state running\n*ok\n");
  expect ("pause\n", "ok\n");
  expect ("pause\n", "ok\n");
  expect ("status\n", "* state paused\n*ok\n");
  expect ("list\n", " card *testcard*ok\n");
  expect ("show card\n", "*ports 0x80-0x80*ok\n");
  expect ("show crad\n", "error 69 there is no device \"crad\"\n");
  expect ("stat\n", "* cpu.instructions *ok\n");
  expect ("block fffffff0\n", "error 69 *\n");
  expect ("block %n\n", "error 64 expected an address*\n");
  expect ("log testcard:debug\n", "ok\n");
  expect ("log testcard:loud\n", "error 64 expected a level*\n");
  expect ("swap card\n", " card: testcard is now *\nok\n");
  expect ("'swap' \"card\"\n", " card: testcard is now *\nok\n");
  expect ("swap crad\n", "error 69 there is no device \"crad\"\n");
  expect ("swap card /none.so\n", "error * *none.so*\n");
  expect ("reset\n", "ok\n");
  expect ("help\n", " swap DEVICE*ok\n");
}

static void
test_nonsense (void)
{
  expect ("\n", "error 64 *\n");
  expect ("   \n", "error 64 *\n");
  expect ("sawp card\n", "error 64 there is no request \"sawp\" (did you mean \"swap\"?)\n");
  expect ("swap\n", "error 64 expected swap DEVICE [FILE]\n");
  expect ("status please\n", "error 64 expected status*\n");
  expect ("swap 'card\n", "error 64 *\n");
  expect ("\xff\xfe\n", "error 64 *UTF-8\n");
  expect ("%s%n%s%n\n", "error 64 *\n");
  g_free (ask_bytes ("status\0status\n", 14));
  expect ("status\n", "*ok\n");
}

static void
test_random (void)
{
  for (unsigned round = 0; round < 200; round++)
    {
      char bytes[600];

      for (unsigned i = 0; i < sizeof bytes - 1; i++)
        bytes[i] = g_test_rand_int_range (0, 256);
      bytes[sizeof bytes - 1] = '\n';
      g_free (ask_bytes (bytes, sizeof bytes));
    }
  expect ("status\n", "*ok\n");
}

static void
test_long_line (void)
{
  g_autofree char *line = g_strnfill (5000, 'a');
  g_autofree char *reply = NULL;
  int fd = dial ();

  send (fd, line, 5000, MSG_NOSIGNAL);
  reply = read_reply (fd);
  if (*reply)
    g_assert_true (g_str_has_prefix (reply, "error 64 expected a line of at most 4095 bytes"));
  close (fd);
  expect ("status\n", "*ok\n");
}

/* Asks for much and reads nothing: the machine must neither wait nor fill its memory. */
static void
test_deaf (void)
{
  int fd = dial ();

  g_assert_cmpint (fd, >=, 0);
  for (unsigned i = 0; i < 100000; i++)
    if (send (fd, "help\n", 5, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
      break;
  expect ("status\n", "*ok\n");
  close (fd);
  expect ("status\n", "*ok\n");
}

/* Whether the machine has seen that there are fewer clients. */
static bool
has_room (void)
{
  g_autofree char *reply = NULL;
  int fd = dial ();

  g_assert_cmpint (fd, >=, 0);
  send (fd, "status\n", 7, MSG_NOSIGNAL); /* it may have hung up already */
  reply = read_reply (fd);
  close (fd);
  return g_str_has_suffix (reply, "ok\n");
}

static void
test_crowd (void)
{
  int fds[40];
  g_autofree char *reply = NULL;

  for (unsigned i = 0; i < G_N_ELEMENTS (fds); i++)
    fds[i] = dial ();
  reply = read_reply (fds[G_N_ELEMENTS (fds) - 1]);
  g_assert_cmpstr (reply, ==, "error 75 too many clients; try again later\n");
  for (unsigned i = 0; i < G_N_ELEMENTS (fds); i++)
    if (fds[i] >= 0)
      {
        send (fds[i], "sta", 3, MSG_NOSIGNAL); /* and hangs up in the middle */
        close (fds[i]);
      }
  WAIT_FOR (has_room ());
  expect ("status\n", "*ok\n");
}

static void
test_several_requests (void)
{
  int fd = dial ();
  const char *requests = "status\nlist\nhelp\n";

  g_assert_cmpint (send (fd, requests, strlen (requests), MSG_NOSIGNAL), >, 0);
  for (unsigned i = 0; i < 3; i++)
    {
      g_autofree char *reply = read_reply (fd);

      g_assert_true (g_str_has_suffix (reply, "ok\n"));
    }
  close (fd);
}

static void
test_permissions (void)
{
  struct stat st;

  g_assert_cmpint (stat (socket_path, &st), ==, 0);
  g_assert_cmpint (st.st_mode & 0077, ==, 0);
}

static void
test_quit (void)
{
  int status;

  expect ("quit\n", "ok\n");
  g_assert_cmpint (waitpid (machine, &status, 0), ==, machine);
  g_assert_true (WIFEXITED (status));
  g_assert_cmpint (WEXITSTATUS (status), ==, 0);
  g_assert_false (g_file_test (socket_path, G_FILE_TEST_EXISTS));
}

/* What a killed machine leaves behind does not stop the next one. */
static void
test_stale (void)
{
  start_machine ();
  kill (machine, SIGKILL);
  waitpid (machine, NULL, 0);
  g_assert_true (g_file_test (socket_path, G_FILE_TEST_EXISTS));
  start_machine ();
  test_quit ();
}

int
main (int argc, char **argv)
{
  static const char config[] = "machine: { name = \"control-test\"; memory = 1; };\n"
                               "devices: ( { name = \"card\"; plugin = \"testcard\"; } );\n";
  const char *build = g_getenv ("TENON_BUILDDIR");
  int code;

  g_test_init (&argc, &argv, NULL);
  if (!build)
    return 77;
  program = g_build_filename (build, "core", "tenon", NULL);
  folder = g_dir_make_tmp ("tenon-XXXXXX", NULL);
  socket_path = g_build_filename (folder, "control", NULL);
  config_path = g_build_filename (folder, "machine.cfg", NULL);
  g_assert_true (g_file_set_contents (config_path, config, -1, NULL));
  start_machine ();
  g_test_add_func ("/control/requests", test_requests);
  g_test_add_func ("/control/permissions", test_permissions);
  g_test_add_func ("/control/several", test_several_requests);
  g_test_add_func ("/control/nonsense", test_nonsense);
  g_test_add_func ("/control/random", test_random);
  g_test_add_func ("/control/long-line", test_long_line);
  g_test_add_func ("/control/deaf", test_deaf);
  g_test_add_func ("/control/crowd", test_crowd);
  g_test_add_func ("/control/quit", test_quit);
  g_test_add_func ("/control/stale", test_stale);
  code = g_test_run ();
  g_unlink (config_path);
  g_unlink (socket_path);
  g_rmdir (folder);
  return code;
}
