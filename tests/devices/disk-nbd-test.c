/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Disks of servers: qemu-nbd over a Unix socket, which is killed, comes back or does not; nbdkit,
 * if it is there, for odd sizes of requests; and servers played here that do not answer.
 */
#define _GNU_SOURCE
#include "../patience.h"
#include "block.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define MiB (1u << 20)

typedef struct {
  char *dir, *socket, *uri, *image;
  pid_t server;
} Fixture;

static bool
have (const char *program)
{
  g_autofree char *path = g_find_program_in_path (program);

  return path != NULL;
}

static void
set_up (Fixture *f, const void *data)
{
  f->dir = g_dir_make_tmp ("disk-nbd-XXXXXX", NULL);
  f->socket = g_build_filename (f->dir, "socket", NULL);
  f->image = g_build_filename (f->dir, "image", NULL);
  f->uri = g_strdup_printf ("nbd+unix:///?socket=%s", f->socket);
  f->server = -1;
}

static void
stop_server (Fixture *f, int signal)
{
  if (f->server <= 0)
    return;
  kill (f->server, signal);
  waitpid (f->server, NULL, 0);
  f->server = -1;
}

static void
tear_down (Fixture *f, const void *data)
{
  stop_server (f, SIGTERM);
  g_unlink (f->socket);
  g_unlink (f->image);
  g_rmdir (f->dir);
  g_free (f->dir);
  g_free (f->socket);
  g_free (f->uri);
  g_free (f->image);
}

/* The socket is there a moment before the server listens. */
static bool
can_connect (const Fixture *f)
{
  struct sockaddr_un address = { .sun_family = AF_UNIX };
  int fd = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  bool done;

  g_strlcpy (address.sun_path, f->socket, sizeof address.sun_path);
  done = connect (fd, (struct sockaddr *) &address, sizeof address) == 0;
  close (fd);
  return done;
}

/* qemu-nbd with these words, perhaps after a while; returns when it can be connected to, if now. */
static void
start_server (Fixture *f, unsigned delay_ms, const char *words)
{
  g_autofree char *line
      = g_strdup_printf ("sleep %u.%03u; rm -f %s; exec qemu-nbd --persistent --socket=%s %s %s",
                         delay_ms / 1000, delay_ms % 1000, f->socket, f->socket, words, f->image);

  f->server = fork ();
  if (f->server == 0)
    {
      int null = open ("/dev/null", O_RDWR);

      dup2 (null, 1);
      execl ("/bin/sh", "sh", "-c", line, NULL);
      _exit (127);
    }
  if (delay_ms == 0)
    WAIT_FOR (can_connect (f));
}

/* Whether a sector can be read; the server may not be as far yet. */
static bool
can_read (Back *b, uint8_t *sector)
{
  return b->ops->read (b->self, 0, sector, 512) == 0;
}

static void
make_raw (Fixture *f, off_t size)
{
  int fd = open (f->image, O_RDWR | O_CREAT | O_TRUNC, 0600);

  g_assert_cmpint (ftruncate (fd, size), ==, 0);
  close (fd);
}

static void
run (const char *format, const char *argument)
{
  g_autofree char *line = g_strdup_printf (format, argument);

  g_assert_cmpint (system (line), ==, 0);
}

static void
open_disk (Back *b, Fixture *f, const char *reconnect)
{
  back_open (b, "disk-nbd",
             (const char *[]){ "uri", f->uri, "timeout", "300", "reconnect", reconnect, NULL });
}

/* With a timeout: "1" where it is to pass. */
static void
refuse (Fixture *f, const char *timeout, const char *name, const char *value, const char *expected)
{
  g_autoptr (GError) error = NULL;
  Back b;

  g_assert_false (
      back_try (&b, "disk-nbd",
                (const char *[]){ "uri", f->uri, "timeout", timeout, name, value, NULL }, &error));
  g_test_message ("%s", error->message);
  g_assert_true (g_str_has_prefix (error->message, "disk: "));
  if (strstr (error->message, expected) == NULL)
    g_error ("expected \"%s\", found: %s", expected, error->message);
}

static void
fill (uint8_t *bytes, size_t size, unsigned seed)
{
  for (size_t n = 0; n < size; n++)
    bytes[n] = (n * 31 + seed * 7 + n / 512) ^ seed;
}

/* ---- A server that is well ---- */

static void
test_read_write (Fixture *f, const void *data)
{
  g_autofree uint8_t *out = g_malloc (9 * MiB), *in = g_malloc (9 * MiB);
  uint8_t sector[512];
  struct stat st;
  int fd;
  Back b;

  make_raw (f, 64 * MiB);
  start_server (f, 0, "--format=raw --discard=unmap");
  open_disk (&b, f, "5");
  g_assert_cmpuint (back_size (&b), ==, 64 * MiB);
  fill (out, 9 * MiB, 1);
  back_write (&b, 3 * MiB + 512, out, 9 * MiB); /* more than one request */
  back_read (&b, 3 * MiB + 512, in, 9 * MiB);
  g_assert_cmpmem (in, 9 * MiB, out, 9 * MiB);
  g_assert_cmpint (b.ops->read (b.self, 64 * MiB - 512, in, 1024), ==, EIO);
  g_assert_cmpint (b.ops->write (b.self, 64 * MiB, in, 512), ==, EIO);
  back_flush (&b);
  fd = open (f->image, O_RDONLY);
  g_assert_cmpint (pread (fd, sector, 512, 3 * MiB + 1024), ==, 512);
  g_assert_cmpmem (sector, 512, out + 512, 512);
  /* Zeros give back their room. */
  memset (in, 0, 9 * MiB);
  back_write (&b, 3 * MiB, in, 9 * MiB);
  back_write (&b, 12 * MiB, in, MiB);
  back_flush (&b);
  g_assert_cmpint (fstat (fd, &st), ==, 0);
  g_assert_cmpint (st.st_blocks * 512, <, MiB);
  close (fd);
  back_swap (&b); /* the server serves one client at a time */
  back_write (&b, 0, out, 512);
  back_swap (&b);
  back_read (&b, 0, sector, 512);
  g_assert_cmpmem (sector, 512, out, 512);
  back_close (&b);
}

static void
test_read_only (Fixture *f, const void *data)
{
  uint8_t sector[2048] = { 1 };
  Back b;

  make_raw (f, MiB);
  start_server (f, 0, "--format=raw --read-only");
  refuse (f, "300", "read-only", "false", "set read-only = true");
  back_open (&b, "disk-nbd",
             (const char *[]){ "uri", f->uri, "timeout", "300", "read-only", "true", NULL });
  g_assert_cmpint (b.ops->write (b.self, 0, sector, 512), ==, EROFS);
  back_read (&b, 0, sector, 512);
  g_assert_cmphex (sector[0], ==, 0);
  back_close (&b);
  back_open (&b, "disk-nbd",
             (const char *[]){ "uri", f->uri, "timeout", "300", "cdrom", "true", NULL });
  g_assert_cmpuint (b.ops->info (b.self).sector_size, ==, 2048);
  back_close (&b);
}

/* ---- One that goes away ---- */

static void
test_comes_back (Fixture *f, const void *data)
{
  uint8_t out[4096], in[4096];
  Back b;

  make_raw (f, 8 * MiB);
  start_server (f, 0, "--format=raw");
  open_disk (&b, f, "300");
  fill (out, sizeof out, 2);
  back_write (&b, 4096, out, sizeof out);
  stop_server (f, SIGKILL);
  start_server (f, 700, "--format=raw");
  back_read (&b, 4096, in, sizeof in);
  g_assert_cmpmem (in, sizeof in, out, sizeof out);
  stop_server (f, SIGKILL);
  start_server (f, 700, "--format=raw");
  back_write (&b, 0, out, sizeof out);
  back_flush (&b);
  back_close (&b);
}

/* qcow2's tables are in the server's memory until a flush: what it had then is gone with it. */
static void
test_repeats (Fixture *f, const void *data)
{
  enum { WRITES = 40, SIZE = 64 << 10 };
  g_autofree uint8_t *out = g_malloc (SIZE), *in = g_malloc (SIZE);
  Back b;

  run ("qemu-img create -q -f qcow2 %s 64M", f->image);
  start_server (f, 0, "--format=qcow2");
  open_disk (&b, f, "300");
  for (unsigned n = 0; n < WRITES; n++)
    {
      fill (out, SIZE, n);
      back_write (&b, n * MiB, out, SIZE);
      if (n == WRITES / 2)
        back_flush (&b);
    }
  memset (in, 0, SIZE);
  back_write (&b, 0, in, SIZE);
  stop_server (f, SIGKILL);
  start_server (f, 300, "--format=qcow2");
  for (unsigned n = 0; n < WRITES; n++)
    {
      fill (out, SIZE, n);
      if (n == 0)
        memset (out, 0, SIZE);
      back_read (&b, n * MiB, in, SIZE);
      g_assert_cmpmem (in, SIZE, out, SIZE);
    }
  back_flush (&b);
  back_close (&b);
  stop_server (f, SIGTERM);
  /* Clusters that the killed server left unused are none of ours. */
  run ("qemu-img check -q -f qcow2 %s > /dev/null 2>&1 || [ $? = 3 ]", f->image);
}

static void
test_stays_away (Fixture *f, const void *data)
{
  uint8_t sector[512] = { 7 };
  int64_t before;
  Back b;

  make_raw (f, 8 * MiB);
  start_server (f, 0, "--format=raw");
  open_disk (&b, f, "1");
  back_write (&b, 0, sector, 512);
  stop_server (f, SIGKILL);
  before = g_get_monotonic_time ();
  g_assert_cmpint (b.ops->read (b.self, 0, sector, 512), ==, EIO);
  g_assert_cmpint (g_get_monotonic_time () - before, <, PATIENCE_S * G_USEC_PER_SEC);
  g_assert_cmpint (b.ops->flush (b.self), ==, EIO);
  start_server (f, 0, "--format=raw"); /* later, all the same */
  WAIT_FOR (can_read (&b, sector));
  back_read (&b, 0, sector, 512);
  g_assert_cmphex (sector[0], ==, 7);
  back_flush (&b);
  stop_server (f, SIGKILL);
  make_raw (f, 4 * MiB); /* another disk is none that could go on */
  start_server (f, 0, "--format=raw");
  g_assert_cmpint (b.ops->read (b.self, 0, sector, 512), ==, EIO);
  back_close (&b);
}

/* ---- Ones that are not well ---- */

static int
listen_at (const char *path)
{
  struct sockaddr_un address = { .sun_family = AF_UNIX };
  int fd = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

  g_strlcpy (address.sun_path, path, sizeof address.sun_path);
  g_assert_cmpint (bind (fd, (struct sockaddr *) &address, sizeof address), ==, 0);
  g_assert_cmpint (listen (fd, 4), ==, 0);
  return fd;
}

static void
test_refused (Fixture *f, const void *data)
{
  int fd;

  refuse (f, "300", NULL, NULL, "No such file");
  fd = listen_at (f->socket); /* says nothing */
  refuse (f, "1", NULL, NULL, "does not answer in time");
  close (fd);
  g_unlink (f->socket);
  g_free (f->uri);
  f->uri = g_strdup ("http://example/");
  refuse (f, "300", NULL, NULL, "");
  g_free (f->uri);
  f->uri = g_strdup ("nbd://127.0.0.1:1/x");
  refuse (f, "300", NULL, NULL, "Connection refused");
}

/* Talks nonsense: a server of something else, and beginnings of the real thing. */
static void
talk (int fd, const char *line, size_t size)
{
  int peer = accept (fd, NULL, NULL);
  char junk[4096];

  for (unsigned i = 0; i < 3; i++)
    if (send (peer, line, size, MSG_NOSIGNAL) < 0
        || recv (peer, junk, sizeof junk, MSG_DONTWAIT) == 0)
      break;
  close (peer);
}

static void
test_nonsense (Fixture *f, const void *data)
{
  /* The third can be taken for an old server with a disk of 5 EiB. */
  static const struct {
    const char *line;
    size_t size;
  } lines[] = { { "HTTP/1.1 400 Bad Request\r\n\r\n", 28 },
                { "NBDMAGIC", 8 },
                { "NBDMAGICIHAVEOPT\0", 17 },
                { "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 16 } };

  for (unsigned n = 0; n < G_N_ELEMENTS (lines); n++)
    {
      int fd = listen_at (f->socket);
      pid_t child = fork ();
      g_autoptr (GError) error = NULL;
      uint8_t sector[512];
      Back b;

      if (child == 0)
        {
          talk (fd, lines[n].line, lines[n].size);
          _exit (0);
        }
      if (back_try (&b, "disk-nbd",
                    (const char *[]){ "uri", f->uri, "timeout", "1", "reconnect", "0", NULL },
                    &error))
        {
          g_assert_cmpint (n, ==, 2);
          g_assert_cmpint (b.ops->read (b.self, 0, sector, 512), ==, EIO);
          back_close (&b);
        }
      else
        g_assert_nonnull (strstr (error->message, f->uri));
      close (fd);
      g_unlink (f->socket);
      waitpid (child, NULL, 0);
    }
}

/* A server that stops answering in the midst of it. */
static void
test_timeout (Fixture *f, const void *data)
{
  uint8_t sector[512];
  Back b;

  make_raw (f, MiB);
  start_server (f, 0, "--format=raw");
  WAIT_FOR (back_try (&b, "disk-nbd",
                      (const char *[]){ "uri", f->uri, "timeout", "1", "reconnect", "0", NULL },
                      NULL));
  g_assert_nonnull (b.h);
  WAIT_FOR (can_read (&b, sector));
  kill (f->server, SIGSTOP);
  g_assert_cmpint (b.ops->read (b.self, 0, sector, 512), ==, EIO);
  kill (f->server, SIGCONT);
  WAIT_FOR (can_read (&b, sector));
  g_assert_true (can_read (&b, sector));
  back_close (&b);
}

/* Requests of 4 KiB and multiples alone, and a size that is none of sectors. */
static void
test_unit (Fixture *f, const void *data)
{
  g_autofree char *line = NULL, *pid_file = g_build_filename (f->dir, "pid", NULL), *text = NULL;
  uint8_t out[1536], in[8192];
  Back b;

  if (!have ("nbdkit"))
    {
      g_test_skip ("nbdkit is not there");
      return;
    }
  line
      = g_strdup_printf ("nbdkit --exit-with-parent -f -P %s -U %s --filter=blocksize-policy memory"
                         " size=65536 blocksize-minimum=4096 blocksize-preferred=4096"
                         " blocksize-error-policy=error & ",
                         pid_file, f->socket);
  f->server = fork ();
  if (f->server == 0)
    {
      *strstr (line, " & ") = '\0';
      char *exec = g_strconcat ("exec ", line, NULL);
      execl ("/bin/sh", "sh", "-c", exec, NULL);
      _exit (127);
    }
  WAIT_FOR (g_file_test (pid_file, G_FILE_TEST_EXISTS));
  open_disk (&b, f, "1");
  fill (out, sizeof out, 5);
  back_write (&b, 4096 - 512, out, sizeof out);
  back_read (&b, 4096 - 1024, in, 2560);
  g_assert_cmpmem (in + 512, sizeof out, out, sizeof out);
  g_assert_true (in[0] == 0 && in[2048] == 0);
  back_write (&b, 65536 - 512, out, 512);
  back_read (&b, 65536 - 512, in, 512);
  g_assert_cmpmem (in, 512, out, 512);
  back_close (&b);
  stop_server (f, SIGTERM);
  g_unlink (pid_file);
}

#define TEST(name, func) g_test_add ("/disk-nbd/" name, Fixture, NULL, set_up, func, tear_down)

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  TEST ("refused", test_refused);
  TEST ("nonsense", test_nonsense);
  TEST ("unit", test_unit);
  if (!have ("qemu-nbd") || !have ("qemu-img"))
    {
      fprintf (stderr, "qemu-nbd (Debian: qemu-utils) is not there: most is skipped\n");
      return g_test_run () ? 1 : 77;
    }
  TEST ("read-write", test_read_write);
  TEST ("read-only", test_read_only);
  TEST ("comes-back", test_comes_back);
  TEST ("repeats", test_repeats);
  TEST ("stays-away", test_stays_away);
  TEST ("timeout", test_timeout);
  return g_test_run ();
}
