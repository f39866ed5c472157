/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The video BIOS that the build made of this folder: a PCI expansion ROM for 5333:8811. */
#pragma once

#include <stdint.h>

extern const uint8_t s3_bios[] __attribute__ ((visibility ("hidden")));
extern const uint32_t s3_bios_size __attribute__ ((visibility ("hidden")));
