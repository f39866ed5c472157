/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The VNC server on the fake bus, with a client of the protocol's (RFC 6143) own words. */
#include "../patience.h"
#include "vga-screen.h"

#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ENCODING_RAW = 0, ENCODING_SIZE = -223 };

static unsigned port;

typedef struct {
  TnHarness *h;
  int fd;
  uint32_t width, height;
  uint32_t *pixels;
} Client;

static TnHarness *
new_machine (const char *password)
{
  TnHarness *h = tn_harness_new (8 << 20);
  g_autofree char *port_text = g_strdup_printf ("%u", port);
  tn_harness_add (h, "bridge", "i440bx", NULL);
  tn_harness_add (h, "kbc", "kbc", NULL);
  tn_harness_add (h, "vga", "vga", "bios", "false", NULL);
  tn_harness_add (h, "vnc", "display-vnc", "port", port_text, "password", password, NULL);
  tn_harness_start (h);
  return h;
}

static void
client_open (Client *c, TnHarness *h)
{
  struct sockaddr_in address = { .sin_family = AF_INET,
                                 .sin_port = htons (port),
                                 .sin_addr.s_addr = htonl (INADDR_LOOPBACK) };
  struct timeval patience = { .tv_sec = PATIENCE_S };
  *c = (Client){ .h = h, .fd = socket (AF_INET, SOCK_STREAM, 0) };
  setsockopt (c->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  g_assert_cmpint (connect (c->fd, (struct sockaddr *) &address, sizeof address), ==, 0);
}

static void
client_close (Client *c)
{
  close (c->fd);
  g_free (c->pixels);
}

static void
take (Client *c, void *bytes, size_t size)
{
  for (size_t done = 0; done < size;)
    {
      ssize_t n = recv (c->fd, (char *) bytes + done, size - done, 0);
      g_assert_cmpint (n, >, 0);
      done += n;
    }
}

static uint32_t
number (Client *c, unsigned size)
{
  uint8_t bytes[4];
  uint32_t value = 0;
  take (c, bytes, size);
  for (unsigned i = 0; i < size; i++)
    value = value << 8 | bytes[i];
  return value;
}

static void
give (Client *c, const void *bytes, size_t size)
{
  g_assert_cmpint (send (c->fd, bytes, size, 0), ==, (ssize_t) size);
}

/* The kinds of security that are offered, as bits. */
static uint32_t
greet (Client *c)
{
  char version[12];
  uint32_t kinds = 0;
  take (c, version, sizeof version);
  g_assert_cmpint (memcmp (version, "RFB 003.008\n", 12), ==, 0);
  give (c, version, sizeof version);
  for (uint32_t n = number (c, 1); n > 0; n--)
    kinds |= 1u << (number (c, 1) & 31);
  return kinds;
}

static void
begin (Client *c)
{
  static const uint8_t encodings[] = { 2, 0, 0, 2, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0x21 };
  uint8_t format[16];
  char name[256] = "";
  uint32_t length;
  g_assert_cmphex (greet (c), ==, 1u << 1);
  give (c, "\1", 1);
  g_assert_cmpuint (number (c, 4), ==, 0);
  give (c, "\1", 1);
  c->width = number (c, 2);
  c->height = number (c, 2);
  take (c, format, sizeof format);
  g_assert_cmpuint (format[0], ==, 32);
  length = number (c, 4);
  g_assert_cmpuint (length, <, sizeof name);
  take (c, name, length);
  g_assert_nonnull (strstr (name, "Tenon"));
  give (c, encodings, sizeof encodings);
}

static void
ask (Client *c)
{
  uint8_t request[10] = { 3, 0, 0, 0, 0, 0, 0x10, 0, 0x10, 0 };
  give (c, request, sizeof request);
}

static void
take_rectangle (Client *c)
{
  uint32_t x = number (c, 2), y = number (c, 2), width = number (c, 2), height = number (c, 2);
  int32_t encoding = number (c, 4);
  if (encoding == ENCODING_SIZE)
    {
      c->width = width;
      c->height = height;
      g_clear_pointer (&c->pixels, g_free);
      return;
    }
  g_assert_cmpint (encoding, ==, ENCODING_RAW);
  if (!c->pixels)
    c->pixels = g_new0 (uint32_t, c->width * c->height);
  g_assert_cmpuint (x + width, <=, c->width);
  g_assert_cmpuint (y + height, <=, c->height);
  for (uint32_t row = y; row < y + height; row++)
    take (c, c->pixels + row * c->width + x, 4 * width);
}

static void
take_update (Client *c)
{
  ask (c);
  tn_harness_run (c->h, 100);
  g_assert_cmpuint (number (c, 1), ==, 0);
  number (c, 1);
  for (uint32_t n = number (c, 2); n > 0; n--)
    take_rectangle (c);
}

static bool
equal (Client *c)
{
  const TnScreen *screen = tn_harness_screen (c->h, NULL);
  if (!c->pixels || c->width != screen->width || c->height != screen->height)
    return false;
  for (uint32_t i = 0; i < c->width * c->height; i++)
    {
      uint32_t p = screen->pixels[i];
      if ((c->pixels[i] & 0xffffff) != ((p & 0xff) << 16 | (p & 0xff00) | p >> 16))
        return false;
    }
  return true;
}

/* Asks until the picture is that of the screen, which the server's thread learns in its own time.
 */
static void
settle (Client *c)
{
  tn_harness_run (c->h, 200);
  WAIT_FOR ((take_update (c), equal (c)));
  g_assert_true (equal (c));
}

static void
test_picture (void)
{
  TnHarness *h = new_machine ("");
  Client a, b;
  screen_mode (h, &screen_256);
  for (unsigned i = 0; i < 64000; i++)
    tn_harness_write (h, 0xa0000 + i, i * 13 >> 4 & 0xff, 1);
  client_open (&a, h);
  begin (&a);
  settle (&a);
  g_assert_cmpuint (a.width, ==, 320);
  g_assert_true (equal (&a));
  client_open (&b, h); /* a second one, and another mode under both */
  begin (&b);
  settle (&b);
  screen_mode (h, &screen_planar);
  settle (&a);
  settle (&b);
  g_assert_cmpuint (a.width, ==, 640);
  g_assert_true (equal (&a));
  g_assert_true (equal (&b));
  client_close (&a);
  tn_harness_write (h, 0xa0000, 0xff, 1);
  tn_harness_run (h, 200);
  settle (&b);
  client_close (&b);
  tn_harness_free (h);
}

static void
send_key (Client *c, uint32_t keysym, bool down)
{
  uint8_t message[8] = { 4, down, 0, 0, keysym >> 24, keysym >> 16, keysym >> 8, keysym };
  give (c, message, sizeof message);
  tn_harness_run (c->h, 100);
}

/* While something comes from the server's thread the guest's time hardly goes on: a key that is
   held would be repeated. */
static void
go_on (TnHarness *h)
{
  tn_harness_run (h, 1);
  tn_harness_clock_step (h, 20 * TN_NS_PER_US);
}

static size_t
take_scan_code (TnHarness *h, GString *codes)
{
  if (tn_harness_in8 (h, 0x64) & 1)
    g_string_append_printf (codes, "%s%02x", codes->len ? " " : "", tn_harness_in8 (h, 0x60));
  return codes->len;
}

/* What the keyboard controller hands out, until it is this, and in the next while. */
static void
assert_scan_codes (TnHarness *h, const char *expected)
{
  g_autoptr (GString) codes = g_string_new (NULL);
  WAIT_FOR ((go_on (h), take_scan_code (h, codes) >= strlen (expected)));
  for (unsigned i = 0; i < 200; i++)
    {
      tn_harness_clock_step (h, TN_NS_PER_MS);
      take_scan_code (h, codes);
    }
  g_assert_cmpstr (codes->str, ==, expected);
}

static void
test_keys (void)
{
  TnHarness *h = new_machine ("");
  Client c;
  tn_harness_out8 (h, 0x64, 0x60); /* keyboard on, codes translated */
  tn_harness_out8 (h, 0x60, 0x40);
  tn_harness_out8 (h, 0x60, 0xf4);
  assert_scan_codes (h, "fa");
  client_open (&c, h);
  begin (&c);
  send_key (&c, 'a', true);
  send_key (&c, 'a', false);
  assert_scan_codes (h, "1e 9e");
  send_key (&c, 0xff52, true); /* up */
  send_key (&c, 0xff52, false);
  assert_scan_codes (h, "e0 48 e0 c8");
  send_key (&c, '#', true); /* is not plain on this layout: Shift comes and goes */
  send_key (&c, '#', false);
  assert_scan_codes (h, "2a 04 aa 84");
  send_key (&c, 0xffe3, true); /* Ctrl is held as the client leaves */
  assert_scan_codes (h, "1d");
  client_close (&c);
  assert_scan_codes (h, "9d");
  tn_harness_free (h);
}

static void
send_pointer (Client *c, unsigned x, unsigned y)
{
  uint8_t message[6] = { 5, 0, x >> 8, x, y >> 8, y };
  give (c, message, sizeof message);
  tn_harness_run (c->h, 100);
}

typedef struct {
  uint8_t packet[3];
  unsigned n;
  int dx, dy; /* y goes down */
} Moved;

static void
take_packets (TnHarness *h, Moved *m)
{
  if ((tn_harness_in8 (h, 0x64) & 0x21) != 0x21)
    return;
  m->packet[m->n++] = tn_harness_in8 (h, 0x60);
  if (m->n < 3)
    return;
  m->n = 0;
  m->dx += m->packet[1] - (m->packet[0] << 4 & 0x100);
  m->dy -= m->packet[2] - (m->packet[0] << 3 & 0x100);
}

static bool
has_moved (TnHarness *h, Moved *m, int x, int y)
{
  go_on (h);
  take_packets (h, m);
  return m->n == 0 && m->dx == x && m->dy == y;
}

/* What the mouse tells, packets of three bytes, added up, until it is this, and in the next while.
 */
static void
assert_moved (TnHarness *h, int x, int y)
{
  Moved m = { .n = 0 };
  WAIT_FOR (has_moved (h, &m, x, y));
  for (unsigned i = 0; i < 400; i++)
    {
      tn_harness_clock_step (h, TN_NS_PER_MS);
      take_packets (h, &m);
    }
  g_assert_cmpuint (m.n, ==, 0);
  g_assert_cmpint (m.dx, ==, x);
  g_assert_cmpint (m.dy, ==, y);
}

/* The mouse goes as far as the pointer, and beyond at an edge. */
static void
test_pointer (void)
{
  TnHarness *h = new_machine ("");
  Client c;
  screen_mode (h, &screen_256);
  tn_harness_out8 (h, 0x64, 0xa8); /* auxiliary port on, mouse reports */
  tn_harness_out8 (h, 0x64, 0xd4);
  tn_harness_out8 (h, 0x60, 0xf4);
  assert_scan_codes (h, "fa");
  client_open (&c, h);
  begin (&c);
  settle (&c);
  send_pointer (&c, 10, 20);
  assert_moved (h, 10, 20);
  send_pointer (&c, 200, 5);
  assert_moved (h, 190, -15);
  send_pointer (&c, 0, 6);
  assert_moved (h, -200 - 320, 1);
  send_pointer (&c, 0, 0);
  assert_moved (h, 0, -6 - 200);
  send_pointer (&c, 319, 199);
  assert_moved (h, 319 + 320, 199 + 200);
  send_pointer (&c, 319, 198);
  assert_moved (h, 0, -1);
  client_close (&c);
  tn_harness_free (h);
}

static void
test_password (void)
{
  TnHarness *h = new_machine ("secret");
  uint8_t challenge[16], answer[16] = { 1, 2, 3 };
  Client c;
  client_open (&c, h);
  g_assert_cmphex (greet (&c), ==, 1u << 2);
  give (&c, "\2", 1);
  take (&c, challenge, sizeof challenge);
  give (&c, answer, sizeof answer);
  g_assert_cmpuint (number (&c, 4), ==, 1);
  client_close (&c);
  tn_harness_free (h);
}

/* The machine goes on whatever a client does; the port stays open over a swap. */
static void
test_hostile (void)
{
  TnHarness *h = new_machine ("");
  GRand *rand = g_rand_new_with_seed (5900);
  Client c, good;
  for (unsigned i = 0; i < 20; i++)
    {
      uint8_t junk[256];
      client_open (&c, h);
      if (i % 2)
        begin (&c);
      for (unsigned k = 0; k < sizeof junk; k++)
        junk[k] = g_rand_int (rand);
      junk[0] &= 7;
      send (c.fd, junk, sizeof junk, MSG_NOSIGNAL);
      tn_harness_run (h, 20);
      client_close (&c);
    }
  g_assert_true (tn_harness_swap (h, "vnc", NULL, NULL));
  screen_mode (h, &screen_256);
  client_open (&good, h);
  begin (&good);
  settle (&good);
  client_close (&good);
  g_rand_free (rand);
  tn_harness_free (h);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  port = free_port ();
  g_test_add_func ("/display-vnc/picture", test_picture);
  g_test_add_func ("/display-vnc/keys", test_keys);
  g_test_add_func ("/display-vnc/pointer", test_pointer);
  g_test_add_func ("/display-vnc/password", test_password);
  g_test_add_func ("/display-vnc/hostile", test_hostile);
  return g_test_run ();
}
