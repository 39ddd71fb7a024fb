/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
const char *cgt_library_version(void);
